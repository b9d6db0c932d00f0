import { timestampMs } from '@bufbuild/protobuf/wkt';
import { OverlapPolicy } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import type { Sent } from '@carillon/scheduler/runs-target.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimShard } from './sim-store.ts';
import type { World } from './world.ts';

/** A slot on its way to the runs service. */
interface Traveller {
  readonly uid: string;
  /** Epoch milliseconds. */
  readonly nominalMs: number;
  readonly revision: number;
  /** Whether its overlap policy has one slot in flight. */
  readonly isExclusive: boolean;
}

/** The slots of one schedule that a term has sent, and of which it does not know what became of them. */
interface Airspace {
  /** In calls that have not come back. */
  readonly aloft: Set<Traveller>;
  /** By nominal time and revision: it will be sent again, unless it is given up. */
  readonly unknown: Map<string, Traveller>;
  /** Those of them that another has been sent after. */
  readonly overtaken: Set<string>;
}

/**
 * Watches that a schedule whose overlap policy decides by order has one slot in flight: while a call with one of its slots has not come
 * back, none with another leaves; and no slot is sent again that another was sent after. Redrives are not bound by that.
 */
export class FlightMonitor {
  readonly #world: World;
  /** By process, then by term and schedule. */
  #airspaces = new WeakMap<SimProcess, Map<string, Airspace>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** The database is another, and numbers its terms anew. */
  forget(): void {
    this.#airspaces = new WeakMap();
  }

  /** A call leaves a process. */
  takeOff(
    process: SimProcess,
    { assignment, shard, owner }: SimShard,
    requests: readonly CreateRunRequest[],
  ): { land(results: readonly Sent[] | undefined): void } {
    const { database } = this.#world;
    const term = `${assignment.version}/${shard}/${database.leases.epochOf(shard, owner) ?? 0}`;
    const flights = requests.flatMap((request) => {
      const traveller = travellerOf(request);
      if (database.ledger.has(`${Number(traveller.uid.slice(-12))} ${traveller.nominalMs} DEAD`)) return [];
      return { traveller, space: this.#airspace(process, `${term} ${traveller.uid}`) };
    });
    for (const { traveller, space } of flights) {
      this.#check(traveller, space);
      space.aloft.add(traveller);
      space.unknown.set(placeOf(traveller), traveller);
    }
    return {
      land: (results) => {
        requests.forEach((request, index) => {
          const place = placeOf(travellerOf(request));
          for (const { traveller, space } of flights) {
            if (placeOf(traveller) !== place || traveller.uid !== request.scheduleUid) continue;
            space.aloft.delete(traveller);
            if (results && hasRun(results[index]!)) space.unknown.delete(place);
          }
        });
      },
    };
  }

  #check(traveller: Traveller, { aloft, unknown, overtaken }: Airspace): void {
    const place = placeOf(traveller);
    // What cannot be written down is decided again.
    const { faults } = this.#world.plan;
    if (overtaken.has(place) && faults.every(({ kind }) => kind !== 'rows-refused')) {
      this.#world.violated(
        `the slot ${traveller.nominalMs / 1000} of ${traveller.uid.slice(-4)} is sent again, although another was sent since`,
      );
    }
    // Others that need no order may leave at any time.
    if (!traveller.isExclusive) return;
    for (const other of aloft) {
      if (!other.isExclusive) continue;
      this.#world.violated(
        `the slot ${traveller.nominalMs / 1000} of ${traveller.uid.slice(-4)} is sent while ${other.nominalMs / 1000} is in flight`,
      );
    }
    if (unknown.has(place)) return;
    for (const [other, { isExclusive }] of unknown) if (isExclusive) overtaken.add(other);
  }

  #airspace(process: SimProcess, key: string): Airspace {
    let spaces = this.#airspaces.get(process);
    if (!spaces) {
      spaces = new Map();
      this.#airspaces.set(process, spaces);
    }
    let space = spaces.get(key);
    if (!space) {
      space = { aloft: new Set(), unknown: new Map(), overtaken: new Set() };
      spaces.set(key, space);
    }
    return space;
  }
}

function travellerOf({
  scheduleUid,
  scheduleRevision,
  nominalTime,
  concurrency,
}: CreateRunRequest): Traveller {
  return {
    uid: scheduleUid,
    nominalMs: timestampMs(nominalTime!),
    revision: scheduleRevision,
    isExclusive: concurrency !== undefined && concurrency.policy !== OverlapPolicy.ALLOW,
  };
}

/** Whether the answer is that a run exists. */
function hasRun(sent: Sent): boolean {
  return 'answer' in sent || sent.refused.existing !== undefined;
}

function placeOf({ nominalMs, revision }: Traveller): string {
  return `${nominalMs} ${revision}`;
}
