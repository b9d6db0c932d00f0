/**
 * A set of nominal local times, before any zone. Times are wall seconds: a local date and time counted as if it
 * were UTC.
 */
export interface WallPattern {
  /** True when the pattern names times of day, rather than an interval: it decides what the `AUTO` policies do. */
  readonly fixedTimes: boolean;
  /** The earliest nominal time at or after `wall`, or +Infinity. `wall` is whole, or infinite. */
  nextWall(wall: number): number;
  /** The latest nominal time at or before `wall`, or -Infinity. */
  previousWall(wall: number): number;
}
