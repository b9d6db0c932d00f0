import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createPool } from '@carillon/db';
import { TcpProxy } from '@carillon/db/test/tcp-proxy.ts';
import type { ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import type { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import type { Client } from '@connectrpc/connect';
import type pg from 'pg';
import type { DatabaseServer } from '../support/database-server.ts';
import type { FakeTime } from '../support/fake-time.ts';
import { findSlots, findStretches, findWatermarks } from '../support/found-slots.ts';
import type { ReplicatedDatabase } from '../support/replicated-database.ts';
import { RunGateway } from '../support/run-gateway.ts';
import type { ServiceProcess } from '../support/service-process.ts';
import {
  type Bell,
  type Change,
  type Found,
  faultsOf,
  judge,
  type Stretch,
  type Verdict,
} from '../support/slot-checker.ts';
import type { SmallDisk } from '../support/small-disk.ts';
import { Stack } from '../support/stack.ts';
import type { ScenarioOptions } from './fault.ts';
import { Ground } from './ground.ts';
import type { Random } from './random.ts';

/** The project of all bells: what else is on the database does not count. */
export const PROJECT = 'chaos';
const DOMAIN = 'bells';
/** What a schedule rings by. */
export type Pattern = NonNullable<MessageInitShape<typeof ScheduleSpecSchema>['pattern']>;
const BELLS = 50;
const POLL_MS = 50;

/** A whole system with schedules that are due every second, and the notes of what was asked of it. */
export class Scenario implements AsyncDisposable {
  readonly random: Random;
  /** What is judged. */
  readonly bells: Bell[] = [];
  /** What happens to these schedules is judged by the fault itself, if at all. */
  readonly strangers = new Set<string>();
  readonly pool: pg.Pool;
  readonly #orders: string;
  readonly #ground: Ground;
  #stack: Stack | undefined;
  #schedules: Client<typeof ScheduleService> | undefined;
  #gateway: RunGateway | undefined;
  #proxy: TcpProxy | undefined;
  #numbers = 0;
  #domains = 1;
  #placed = 0;

  private constructor(ground: Ground, random: Random) {
    this.#ground = ground;
    this.random = random;
    this.#orders = join(tmpdir(), `carillon-orders-${process.pid}`);
    this.pool = createPool({
      url: ground.url,
      applicationName: 'carillon-chaos',
      max: 4,
      onError: () => undefined,
    });
  }

  /** Starts a system on a server of its own, and its bells. */
  static async start(options: ScenarioOptions, random: Random): Promise<Scenario> {
    const scenario = new Scenario(await Ground.prepare(options), random);
    try {
      await scenario.#start(options);
      return scenario;
    } catch (error) {
      await scenario[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start({
    scheduler,
    runs,
    bells = BELLS,
    domains = 1,
    gateway,
    proxy,
    orders,
  }: ScenarioOptions): Promise<void> {
    this.#domains = domains;
    const preload = new URL('./preload.ts', import.meta.url).href;
    this.#stack = await Stack.start({
      databaseUrl: this.#ground.url,
      environment: {
        ...this.#ground.time?.environment,
        // An old version makes its own schema.
        ...(this.#ground.oldVersion !== undefined && { CARILLON_MIGRATE: '1' }),
      },
      ...(this.#ground.oldVersion !== undefined && { checkout: this.#ground.oldVersion }),
      scheduler: {
        CARILLON_LEASE_TTL_MS: '3000',
        CARILLON_LEASE_MARGIN_MS: '500',
        CHAOS_ORDER: this.#orders,
        ...scheduler,
      },
      runs: runs ?? {},
      runsUrl: async (url) => {
        if (gateway) this.#gateway = await RunGateway.start(url);
        if (proxy) this.#proxy = await TcpProxy.start(url);
        return this.#gateway?.url ?? this.#proxy?.through(url) ?? url;
      },
      nodeArguments: orders ? { scheduler: ['--import', preload] } : {},
    });
    this.#schedules = this.#stack.schedulesClient();
    await this.addBells(bells);
  }

  /** The database's server; after a promotion the new one. */
  get database(): DatabaseServer {
    return this.#ground.server;
  }

  get stack(): Stack {
    return there(this.#stack);
  }

  get schedules(): Client<typeof ScheduleService> {
    return there(this.#schedules);
  }

  /** What stands before the runs service, if that was asked for. */
  get gateway(): RunGateway {
    return there(this.#gateway);
  }

  /** The relay before the runs service, if that was asked for. */
  get proxy(): TcpProxy {
    return there(this.#proxy);
  }

  /** The disk that the database is on, if it is one of its own. */
  get disk(): SmallDisk {
    return there(this.#ground.disk);
  }

  /** The folder of the old version that everything began with, if it did. */
  get oldVersion(): string {
    return there(this.#ground.oldVersion);
  }

  /** The database with its standby, if it has one. */
  get replicated(): ReplicatedDatabase {
    return there(this.#ground.replicated);
  }

  /** The wall clock of every process under test, if it is one of its own. */
  get time(): FakeTime {
    return there(this.#ground.time);
  }

  /** Epoch milliseconds by the clock that the system under test goes by. */
  now(): number {
    return this.#ground.time?.now() ?? Date.now();
  }

  /**
   * Sets the wall clock of every process under test, in the middle of a second: then nothing is under way that would be sent before a step
   * back and created after it, and so seem to be early.
   *
   * @throws Error when a process does not see it
   */
  async step(ms: number): Promise<void> {
    await delay((1_500 - (this.now() % 1_000)) % 1_000);
    this.time.step(ms);
    const isSeen = (ms: number): boolean => Math.abs(ms - this.now()) < 3_000;
    const { rows } = await this.pool.query<{ ms: number }>(
      'select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms',
    );
    if (!isSeen(rows[0]?.ms ?? 0)) throw new Error('PostgreSQL goes by a time of its own');
    for (const { name, url } of this.stack.services.filter(({ running }) => running)) {
      const dateOf = async (): Promise<string> => (await fetch(`${url}/livez`)).headers.get('date') ?? '';
      // The header is made once a second.
      await until(async () => isSeen(Date.parse(await dateOf())), `${name} sees the new time`, 5_000);
    }
  }

  /** Has a scheduler block its event loop, or step its wall clock. */
  async order(scheduler: ServiceProcess, word: 'block' | 'step', ms: number): Promise<void> {
    await writeFile(this.#orders, `${word} ${ms}`);
    await scheduler.kill('SIGUSR2');
    // It reads the file at its next turn.
    await delay(500);
  }

  /** Creates further schedules of a slot each second. */
  async addBells(count: number): Promise<Bell[]> {
    const added: Promise<Bell>[] = [];
    for (let i = 0; i < count; i++) added.push(this.#addBell(`bell-${++this.#numbers}`));
    const bells = await Promise.all(added);
    this.bells.push(...bells);
    return bells;
  }

  #addBell(scheduleId: string): Promise<Bell> {
    return this.#create(scheduleId, { case: 'rate', value: { interval: { seconds: 1n } } }, () => true);
  }

  /** Creates a schedule whose slots are the seconds of the epoch of which `isSlot` says so. */
  async addSchedule(
    scheduleId: string,
    pattern: Pattern,
    isSlot: (second: number) => boolean,
  ): Promise<Bell> {
    const bell = await this.#create(scheduleId, pattern, isSlot);
    this.bells.push(bell);
    return bell;
  }

  async #create(schedule: string, pattern: Pattern, isSlot: (second: number) => boolean): Promise<Bell> {
    const place = this.#placed++ % this.#domains;
    const domain = place === 0 ? DOMAIN : `${DOMAIN}-${place}`;
    const from = await this.#change(() =>
      this.schedules.createSchedule({
        parent: `projects/${PROJECT}/domains/${domain}`,
        scheduleId: schedule,
        schedule: { spec: { pattern, run: { task: 'chaos.ring' } } },
      }),
    );
    return { project: PROJECT, domain, schedule, stretches: [{ from, isSlot }] };
  }

  /** Expects from now on what the database says of its schedules: what was noted of changes may have been lost. */
  async forget(): Promise<void> {
    const patterns = this.#patterns();
    const found = await findStretches(this.pool, PROJECT);
    this.bells.length = 0;
    for (const { domain, schedule, from, to } of found) {
      if (this.strangers.has(schedule)) continue;
      const stretch = { from, ...(to ? { to } : {}), isSlot: patterns.get(schedule) ?? (() => true) };
      const known = this.bells.find((bell) => bell.schedule === schedule);
      if (known) known.stretches.push(stretch);
      else this.bells.push({ project: PROJECT, domain, schedule, stretches: [stretch] });
    }
  }

  #patterns(): Map<string, Stretch['isSlot']> {
    return new Map(
      this.bells.flatMap(({ schedule, stretches }) => stretches.map(({ isSlot }) => [schedule, isSlot])),
    );
  }

  /** Deactivates a schedule, and notes when. */
  async deactivate(bell: Bell): Promise<void> {
    const to = await this.#change(() => this.schedules.deactivateSchedule({ name: nameOf(bell) }));
    const last = bell.stretches.pop();
    if (last) bell.stretches.push({ ...last, to });
  }

  /** Activates its newest revision again, and notes when. */
  async activate(bell: Bell): Promise<void> {
    const from = await this.#change(() => this.schedules.activateSchedule({ name: nameOf(bell) }));
    bell.stretches.push({ from, isSlot: () => true });
  }

  async #change(call: () => Promise<unknown>): Promise<Change> {
    const requestedMs = this.now();
    await call();
    return { requestedMs, acknowledgedMs: this.now() };
  }

  /** Waits until a scheduler fires, in its present life. */
  async firing(scheduler: ServiceProcess, limitMs = 60_000): Promise<void> {
    await until(() => /"msg":"ready: firing"/.test(scheduler.log()), `${scheduler.name} fires`, limitMs);
  }

  /** Waits until a scheduler leads. */
  async leading(scheduler: ServiceProcess, limitMs = 60_000): Promise<void> {
    const leads = async (): Promise<boolean> => (await scheduler.metric('carillon_scheduler_leader')) === 1;
    await until(leads, `${scheduler.name} leads`, limitMs, 10);
  }

  /** Waits until each of the bells that are active, by default all, has a run of a slot from this instant on: everything works. */
  async ringing(limitMs = 60_000, bells: readonly Bell[] = this.bells): Promise<void> {
    const sinceMs = this.now();
    const active = bells.filter((bell) => bell.stretches.at(-1)?.to === undefined).length;
    await until(
      async () => {
        const { rows } = await this.pool.query<{ bells: number }>(
          `select count(distinct schedule_id)::int as bells from runs
          where project = $1 and nominal_time > to_timestamp($2::float8 / 1000) and schedule_id = any ($3)`,
          [PROJECT, sinceMs, bells.map(({ schedule }) => schedule)],
        );
        return (rows[0]?.bells ?? 0) >= active;
      },
      'every bell rings',
      limitMs,
    );
  }

  /**
   * Waits until everything up to `untilMs` has an outcome, for at most `limitMs`, and judges it; what has none by then is lost.
   */
  async judge(untilMs: number, limitMs = 60_000): Promise<Verdict> {
    const endMs = performance.now() + limitMs;
    for (;;) {
      const verdict = judge(this.bells, await this.found(), untilMs);
      if (verdict.lost.length === 0 || performance.now() > endMs) return verdict;
      await delay(POLL_MS * 4);
    }
  }

  /** What is there, but for strangers. */
  async found(): Promise<Found> {
    const { runs, writeOffs } = await findSlots(this.pool, PROJECT);
    return { runs: runs.filter(({ schedule }) => !this.strangers.has(schedule)), writeOffs };
  }

  /** @throws Error naming each slot that is not settled although its schedule's watermark says so. */
  async checkWatermarks(): Promise<void> {
    // In this order: what the watermark speaks of was written before it.
    const watermarks = await findWatermarks(this.pool, PROJECT);
    const found = await this.found();
    const patterns = this.#patterns();
    const unsettled = watermarks.flatMap(({ domain, schedule, fromMs, throughMs }) => {
      if (this.strangers.has(schedule)) return [];
      const bell: Bell = {
        project: PROJECT,
        domain,
        schedule,
        // The watermark speaks of what follows the span's own beginning.
        stretches: [
          {
            from: { requestedMs: fromMs, acknowledgedMs: fromMs },
            isSlot: patterns.get(schedule) ?? (() => true),
          },
        ],
      };
      const own = {
        runs: found.runs.filter((run) => run.schedule === schedule),
        writeOffs: found.writeOffs.filter((row) => row.schedule === schedule),
      };
      return judge([bell], own, throughMs).lost;
    });
    if (unsettled.length > 0) {
      throw new Error(`unsettled below the watermark:\n${unsettled.slice(0, 20).join('\n')}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack?.stop();
    await this.#gateway?.close();
    await this.#proxy?.close();
    await this.pool.end();
    await this.#ground.remove();
    await rm(this.#orders, { force: true });
  }
}

/** How many shards each of them leads; one that does not answer leads none that anybody knows of. */
export async function leading(schedulers: readonly ServiceProcess[]): Promise<number[]> {
  return await Promise.all(
    schedulers.map((scheduler) => scheduler.metric('carillon_scheduler_leader').catch(() => 0)),
  );
}

/** Asks until the answer is yes. A question that fails is asked again: the world is failing. */
export async function until(
  ask: () => boolean | Promise<boolean>,
  what: string,
  limitMs: number,
  pollMs = POLL_MS,
): Promise<void> {
  const endMs = performance.now() + limitMs;
  let failure: unknown;
  for (;;) {
    try {
      if (await ask()) return;
      failure = undefined;
    } catch (error) {
      failure = error;
    }
    if (performance.now() > endMs) {
      throw new Error(
        `not so within ${limitMs} ms: ${what}`,
        failure === undefined ? {} : { cause: failure },
      );
    }
    await delay(pollMs);
  }
}

/** Lists what is wrong, up to a screenful. */
export function describeFaults(verdict: Verdict): string {
  const faults = faultsOf(verdict);
  const more = faults.length > 30 ? `\nand ${faults.length - 30} more` : '';
  return faults.slice(0, 30).join('\n') + more;
}

function there<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('this scenario was set up without that');
  return part;
}

/** A bell's resource name. */
export function nameOf({ project, domain, schedule }: Bell): string {
  return `projects/${project}/domains/${domain}/schedules/${schedule}`;
}
