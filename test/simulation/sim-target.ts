import { timestampMs } from '@bufbuild/protobuf/wkt';
import { CallFailedError, type RunsTarget, type Sent } from '@carillon/scheduler/runs-target.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import type { SimRuns } from './sim-runs.ts';
import type { SimShard } from './sim-store.ts';
import { type Caller, never, type World } from './world.ts';

/** A service that is slow takes up to this long. */
const SLOW_MS = 4_000;

/** The scheduler's way to the runs service: with deadlines, and all that may happen on the way. */
export function createSimTarget(world: World, caller: Caller, place: SimShard, runs: SimRuns): RunsTarget {
  const { owner } = place;
  const { conditions, plan } = world;
  const { lostAnswers, duplicates, slowCalls } = plan.settings;
  const { process, random } = caller;

  function call<T>(timeoutMs: number, serve: (done: (answer: T) => void) => void): Promise<T> {
    const crash = caller.calls.next();
    if (crash === 'before') caller.crash();
    if (!process.alive) return never();
    return new Promise((resolve, reject) => {
      const timer = process.after(timeoutMs, () => reject(failure(Code.DeadlineExceeded)));
      const answer = (settle: () => void): void => {
        world.time.after(
          world.latencyMs(random),
          () => {
            if (crash === 'answered') caller.crash();
            if (!process.alive) return;
            timer.cancel();
            settle();
          },
          process,
        );
      };
      if (conditions.runsCut.has(caller.replica)) return;
      const { lineage } = world.database.leases;
      const arrive = (listens: boolean): void => {
        // The server that it was on its way to is gone.
        if (world.database.leases.lineage !== lineage) return;
        if (conditions.runsDown) {
          if (listens) answer(() => reject(failure(Code.Unavailable)));
          return;
        }
        if (conditions.databaseDown) {
          if (listens) answer(() => reject(failure(Code.Unavailable)));
          return;
        }
        if (conditions.runsExhausted && random.chance(0.5)) {
          if (listens)
            answer(() =>
              reject(failure(random.pick([Code.ResourceExhausted, Code.Internal, Code.NotFound]))),
            );
          return;
        }
        serve((result) => {
          if (!listens) return;
          if (crash === 'carried-out') caller.crash();
          const lost = conditions.runsLosingAnswers ? random.chance(0.6) : world.happens(lostAnswers, random);
          if (lost || conditions.runsCut.has(caller.replica)) return;
          answer(() => resolve(result));
        });
      };
      const wayMs =
        world.latencyMs(random) +
        (conditions.runsSlow || world.happens(slowCalls, random) ? random.between(0, SLOW_MS) : 0);
      world.time.after(wayMs, () => arrive(true));
      // A proxy that sends again what it is not sure of.
      if (world.happens(duplicates, random))
        world.time.after(wayMs + random.between(0, SLOW_MS), () => arrive(false));
    });
  }

  return {
    create(requests, timeoutMs) {
      const sent = requests.map((request) => {
        const nominalMs = timestampMs(request.nominalTime!);
        world.tell(() => `${owner} sends ${request.schedule.split('/').at(-1)} at ${nominalMs / 1000}`);
        return {
          request,
          sentAtMs: world.time.nowMs,
          lookedAtMs: world.lookOf(owner, request.scheduleUid, nominalMs),
        };
      });
      const flight = world.flights.takeOff(process, place, requests);
      return call<Sent[]>(timeoutMs, (done) => runs.create(sent, done)).then(
        (results) => {
          flight.land(results);
          return results;
        },
        (error: unknown) => {
          flight.land(undefined);
          throw error;
        },
      );
    },
    probe(sought, timeoutMs) {
      return call(timeoutMs, (done) => runs.probe(sought, done));
    },
  };
}

function failure(code: Code): CallFailedError {
  return new CallFailedError(new ConnectError('simulated', code));
}
