/**
 * A stretch of due times in epoch milliseconds: after `after`, through `through`. Either end may be infinite.
 * Lists of ranges are ascending and disjoint.
 */
export interface DueRange {
  readonly after: number;
  readonly through: number;
}

/** The union of ranges in any order, as an ascending list of disjoint ranges that do not touch. */
export function unionOf(ranges: readonly DueRange[]): DueRange[] {
  const sorted = ranges.filter((range) => range.after < range.through).sort((a, b) => a.after - b.after);
  const union: DueRange[] = [];
  for (const range of sorted) {
    const last = union.at(-1);
    if (last && range.after <= last.through) {
      if (range.through > last.through)
        union[union.length - 1] = { after: last.after, through: range.through };
    } else union.push(range);
  }
  return union;
}

/** What of `range` lies in none of `holes` (ascending, disjoint). */
export function without(range: DueRange, holes: readonly DueRange[]): DueRange[] {
  const rest: DueRange[] = [];
  let after = range.after;
  for (const hole of holes) {
    if (hole.through <= after) continue;
    if (hole.after >= range.through) break;
    if (hole.after > after) rest.push({ after, through: hole.after });
    after = Math.max(after, hole.through);
  }
  if (after < range.through) rest.push({ after, through: range.through });
  return rest;
}
