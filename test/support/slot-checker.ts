import { createHash } from 'node:crypto';

/**
 * Judges what a system did against what it was asked for. The slots come from a brute-force walk over seconds, the runs and the
 * ledger from the database; nothing of the system's own code takes part.
 */

/** When a change was asked for and when it was acknowledged, in epoch milliseconds. In between it may or may not be in force. */
export interface Change {
  readonly requestedMs: number;
  readonly acknowledgedMs: number;
}

/** A stretch of time in which a schedule is active with one pattern. */
export interface Stretch {
  readonly from: Change;
  /** Undefined: it is active still. */
  readonly to?: Change;
  /** Whether the pattern yields a second of the epoch. */
  readonly isSlot: (second: number) => boolean;
}

/** A schedule as it was asked for. */
export interface Bell {
  readonly project: string;
  readonly domain: string;
  readonly schedule: string;
  readonly stretches: Stretch[];
}

/** A run that was found, times in epoch milliseconds. */
export interface FoundRun {
  readonly project: string;
  readonly domain: string;
  readonly schedule: string;
  readonly runId: string;
  readonly nominalMs: number;
  readonly fireMs: number;
  /** By the database's clock. */
  readonly createMs: number;
}

/** A row of the slot ledger that says that slots have no run. */
export interface FoundWriteOff {
  readonly project: string;
  readonly domain: string;
  readonly schedule: string;
  readonly nominalMs: number;
  readonly lastNominalMs: number;
  readonly slots: number;
  readonly outcome: string;
  readonly reason: string;
}

/** What was found. */
export interface Found {
  readonly runs: readonly FoundRun[];
  readonly writeOffs: readonly FoundWriteOff[];
}

/** What is wrong, and how much there was. Lists name slots, as in `tick-1 2026-01-01T00:00:00Z`. */
export interface Verdict {
  /** Slots that must have an outcome. */
  readonly slots: number;
  readonly runs: number;
  /** Of the slots, those that the ledger says have no run. */
  readonly writtenOff: number;
  /** Without any outcome. */
  readonly lost: readonly string[];
  /** With more than one run. */
  readonly doubled: readonly string[];
  /** Runs at a time that is no slot, or of no schedule that is known. */
  readonly extra: readonly string[];
  /** Runs whose name is not that of their slot. */
  readonly misnamed: readonly string[];
  /** Sent or created before the slot's time. */
  readonly early: readonly string[];
  /** Ledger rows that do not agree with the runs. */
  readonly contradicted: readonly string[];
  /** From a slot's time to its run's creation, by the database's clock, in milliseconds, ascending. */
  readonly latenessMs: readonly number[];
}

/** A change is in force no later than so long after its acknowledgement. */
const IN_FORCE_MS = 100;

/** Judges all slots up to `untilMs`, and of later runs what can be judged without knowing their slots. */
export function judge(bells: readonly Bell[], found: Found, untilMs: number): Verdict {
  const runsOf = groupBy(found.runs, nameOf);
  const writeOffsOf = groupBy(found.writeOffs, nameOf);
  const lost: string[] = [];
  const doubled: string[] = [];
  const extra: string[] = [];
  const misnamed: string[] = [];
  const early: string[] = [];
  const contradicted: string[] = [];
  const latenessMs: number[] = [];
  let slots = 0;
  let writtenOff = 0;

  for (const bell of bells) {
    const name = nameOf(bell);
    const runs = runsOf.get(name) ?? [];
    const writeOffs = writeOffsOf.get(name) ?? [];
    const bySlot = groupBy(runs, (run) => String(run.nominalMs));
    const { must, may } = slotsOf(bell, untilMs);
    slots += must.size;
    for (const [nominalMs, ofSlot] of bySlot) {
      if (ofSlot.length > 1) doubled.push(slotName(bell, Number(nominalMs)));
      if (!may.has(Number(nominalMs)) && Number(nominalMs) <= untilMs) {
        extra.push(slotName(bell, Number(nominalMs)));
      }
    }
    for (const nominalMs of must) {
      if (bySlot.has(String(nominalMs))) continue;
      if (writeOffs.some((row) => row.nominalMs <= nominalMs && nominalMs <= row.lastNominalMs)) writtenOff++;
      else lost.push(slotName(bell, nominalMs));
    }
    for (const row of writeOffs) {
      const without = [...may].filter(
        (nominalMs) =>
          row.nominalMs <= nominalMs && nominalMs <= row.lastNominalMs && !bySlot.has(String(nominalMs)),
      ).length;
      if (without !== row.slots) {
        contradicted.push(
          `${slotName(bell, row.nominalMs)} ${row.outcome} ${row.reason}: ${row.slots} slots, but ${without} without a run`,
        );
      }
    }
    for (const run of runs) {
      if (run.fireMs < run.nominalMs || run.createMs < run.nominalMs)
        early.push(slotName(bell, run.nominalMs));
      if (run.runId !== expectedName(run)) misnamed.push(slotName(bell, run.nominalMs));
      if (run.nominalMs <= untilMs) latenessMs.push(run.createMs - run.nominalMs);
    }
  }
  const known = new Set(bells.map(nameOf));
  for (const run of found.runs) {
    if (!known.has(nameOf(run))) extra.push(slotName(run, run.nominalMs));
  }
  latenessMs.sort((a, b) => a - b);
  return {
    slots,
    runs: found.runs.length,
    writtenOff,
    lost,
    doubled,
    extra,
    misnamed,
    early,
    contradicted,
    latenessMs,
  };
}

/** Everything that is wrong, a line each; empty when all is well. */
export function faultsOf(verdict: Verdict): string[] {
  const named = ['lost', 'doubled', 'extra', 'misnamed', 'early', 'contradicted'] as const;
  return named.flatMap((kind) => verdict[kind].map((slot) => `${kind}: ${slot}`));
}

/** Slots that must have an outcome, and those that may; nominal times in epoch milliseconds. */
function slotsOf(bell: Bell, untilMs: number): { must: Set<number>; may: Set<number> } {
  const must = new Set<number>();
  const may = new Set<number>();
  for (const { from, to, isSlot } of bell.stretches) {
    const end = to ?? { requestedMs: Number.POSITIVE_INFINITY, acknowledgedMs: Number.POSITIVE_INFINITY };
    const last = Math.floor(Math.min(untilMs, end.acknowledgedMs + IN_FORCE_MS) / 1000);
    for (let second = Math.ceil(from.requestedMs / 1000); second <= last; second++) {
      if (!isSlot(second)) continue;
      const ms = second * 1000;
      may.add(ms);
      if (ms > from.acknowledgedMs + IN_FORCE_MS && ms < end.requestedMs) must.add(ms);
    }
  }
  return { must, may };
}

/** The name of a slot's run, as semantics.md defines it, written down here once more. */
function expectedName({ project, domain, schedule, nominalMs }: FoundRun): string {
  const instant = new Date(nominalMs).toISOString().replace('.000Z', 'Z');
  const digest = createHash('sha256');
  for (const field of ['carillon/1', project, domain, schedule, instant, 'slot', '']) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(field));
    digest.update(length).update(field);
  }
  let bits = BigInt(`0x${digest.digest('hex')}`) >> 126n;
  let name = '';
  for (let digit = 0; digit < 26; digit++, bits >>= 5n) {
    name = 'abcdefghijklmnopqrstuvwxyz234567'.charAt(Number(bits & 31n)) + name;
  }
  return `r${name}`;
}

function nameOf({ project, domain, schedule }: Pick<Bell, 'project' | 'domain' | 'schedule'>): string {
  return `${project}/${domain}/${schedule}`;
}

function slotName({ schedule }: { readonly schedule: string }, nominalMs: number): string {
  return `${schedule} ${new Date(nominalMs).toISOString().replace('.000Z', 'Z')}`;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
