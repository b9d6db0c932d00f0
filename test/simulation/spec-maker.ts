import type { Prng } from './prng.ts';
import type { ExcludedHours, SimPattern, SimSpec, ZonedPattern } from './sim-spec.ts';
import {
  CHANGING_ZONES,
  type ClockChange,
  clockChanges,
  DAY,
  STEADY_ZONES,
  wallAt,
  weekdayOf,
} from './sim-zones.ts';

/** Simulated years in which changes of clocks are looked for: from June 2026 to June 2028. */
const [YEARS_FROM, YEARS_TO] = [20_605 * DAY, 21_336 * DAY];

const OVERLAP_POLICIES = ['SKIP', 'BUFFER_ONE', 'BUFFER_ALL', 'CANCEL_OTHER', 'TERMINATE_OTHER'] as const;

/** An instant that a history lives through, and whose time on the walls of its zone specs are made around. */
export function momentOf(random: Prng): ClockChange {
  if (random.chance(0.45))
    return random.pick(clockChanges(random.pick(CHANGING_ZONES), YEARS_FROM, YEARS_TO));
  const zone = random.pick([...STEADY_ZONES, ...CHANGING_ZONES]);
  const at = random.int(YEARS_FROM, YEARS_TO);
  if (random.chance(0.7)) return { zone, at };
  // Midnight there, unless the clocks change on that day.
  const wall = wallAt(zone, at);
  return { zone, at: at + DAY - (wall - Math.floor(wall / DAY) * DAY) };
}

/** Makes specs that are dense enough to be interesting, and not so dense that the runs service cannot keep up. */
export class SpecMaker {
  readonly #random: Prng;
  readonly #moment: ClockChange;
  readonly #epochSec: number;
  readonly #endSec: number;
  readonly #names: number;

  /** @param names how many schedules share the runs service */
  constructor(random: Prng, moment: ClockChange, epochMs: number, faultsEndMs: number, names: number) {
    this.#random = random;
    this.#moment = moment;
    this.#epochSec = Math.floor(epochMs / 1000);
    this.#endSec = Math.ceil((epochMs + faultsEndMs) / 1000);
    this.#names = names;
  }

  make(): SimSpec {
    const random = this.#random;
    return {
      pattern: this.#pattern(),
      start: random.chance(0.2) ? this.#epochSec + random.int(-100, 1) : undefined,
      // Most end soon after the faults, so that worlds come to rest.
      end: random.chance(0.6) ? this.#endSec + random.int(-5, 4) : undefined,
      excluded: random.chance(0.12) ? this.#excluded() : undefined,
      jitterSec: random.chance(0.3) ? random.pick([0.5, 1, 3, 10, 60]) : 0,
      windowMs: random.pick([86_400_000, 86_400_000, 3_000, 10_000, 30_000]),
      catchUp: random.pick(['ALL', 'ALL', 'ALL', 'LATEST', 'NONE']),
      catchUpLimit: random.pick([0, 0, 0, 1, 3]),
      overlap: random.chance(0.5) ? 'ALLOW' : random.pick(OVERLAP_POLICIES),
      overlapLimit: random.pick([0, 0, 1, 2, 3]),
    };
  }

  #pattern(): SimPattern {
    const random = this.#random;
    const kind = random.fraction();
    if (kind < 0.45)
      return { kind: 'rate', every: random.pick([1, 2, 3, 5, 7].slice(this.#names > 3 ? 1 : 0)) };
    if (kind < 0.83) return this.#cron();
    if (kind < 0.93) return this.#calendar();
    if (kind < 0.99) return { kind: 'at', at: random.int(this.#epochSec - 5, this.#endSec) };
    return { kind: 'corrupt' };
  }

  #cron(): ZonedPattern {
    const random = this.#random;
    const zone = this.#zone();
    const every = random.pick([2, 3, 5, 10]);
    const seconds = random.chance(0.5)
      ? Array.from({ length: 60 / every }, (_, index) => index * every)
      : sorted(Array.from({ length: random.int(1, 12) }, () => random.int(0, 59)));
    const common = { kind: 'cron', ...this.#rules(zone), seconds } as const;
    if (random.chance(0.5)) return { ...common, minutes: [], hours: [], weekdays: [] };
    // The minutes and hours that the clock shows about then: those that a change leaves out, and those that it repeats.
    const { before, after } = this.#walls(zone);
    const around = [before - 30, before, after, after + 60];
    const some = (values: readonly number[], all: number): number[] =>
      random.chance(all) ? [] : sorted(values.filter(() => random.chance(0.7)));
    return {
      ...common,
      minutes: some(
        around.map((wall) => Math.floor(wall / 60) % 60),
        0.3,
      ),
      hours: some(
        around.map((wall) => Math.floor(wall / 3_600) % 24),
        0.2,
      ),
      weekdays: some(around.map(weekdayOf), 0.8),
    };
  }

  #calendar(): ZonedPattern {
    const random = this.#random;
    const zone = this.#zone();
    const { before, after } = this.#walls(zone);
    const unit = random.pick(['DAY', 'DAY', 'WEEK'] as const);
    const every = random.pick([1, 1, 2, 3]);
    const times = Array.from(
      { length: random.int(1, 20) },
      () => (random.pick([before, after]) + random.int(-40, 60)) % DAY,
    );
    return {
      kind: 'calendar',
      ...this.#rules(zone),
      unit,
      every,
      startDay:
        Math.floor(before / DAY) -
        every * (unit === 'WEEK' ? 7 : 1) * random.int(0, 2) -
        (random.chance(0.2) ? 1 : 0),
      times: sorted(times),
      weekdays: unit === 'WEEK' ? sorted([weekdayOf(before), weekdayOf(after), random.int(0, 6)]) : [],
    };
  }

  #excluded(): ExcludedHours {
    const random = this.#random;
    const zone = this.#zone();
    const { before, after } = this.#walls(zone);
    const from = (random.pick([before, after]) + random.int(-40, 40)) % DAY;
    const to = (from + random.pick([3, 20, 1_800, 3_600, 50_000])) % DAY;
    const date = new Date(random.pick([before, after]) * 1000).toISOString().slice(0, 10);
    return {
      zone,
      dates: random.chance(0.15) ? [date] : [],
      weekdays: sorted([weekdayOf(before), weekdayOf(after), random.int(0, 6)]),
      from,
      to: to === 0 ? DAY : to,
    };
  }

  #zone(): string {
    return this.#random.chance(0.75) ? this.#moment.zone : this.#random.pick(STEADY_ZONES);
  }

  #rules(zone: string): Pick<ZonedPattern, 'zone' | 'dstGap' | 'dstOverlap'> {
    const random = this.#random;
    return {
      zone,
      dstGap: random.pick(['AUTO', 'AUTO', 'NEXT_VALID', 'SHIFT', 'SKIP']),
      dstOverlap: random.pick(['AUTO', 'AUTO', 'FIRST', 'LAST', 'BOTH']),
    };
  }

  /** What the zone's clock shows at the moment: as it was set before, and as it is. */
  #walls(zone: string): { readonly before: number; readonly after: number } {
    const { at } = this.#moment;
    return { before: wallAt(zone, at - 1) + 1, after: wallAt(zone, at) };
  }
}

function sorted(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
