/**
 * A stretch of time in which a zone keeps one offset, with the change of the clocks at either end. It is cut at
 * the edges of the page of the table it was built for: answers hold in `[from, to)` only, but `openedAt` and
 * `closedAt` may lie a little outside, since a change acts on times up to its own length away.
 */
export class ZoneSegment {
  /** First instant (epoch seconds) this segment answers for. */
  readonly from: number;
  /** First instant it no longer answers for. */
  readonly to: number;
  /** Seconds east of UTC. */
  readonly offset: number;
  /** The change that began this offset; -Infinity when it is too far away to matter. */
  readonly openedAt: number;
  /** The offset before that change; `offset` itself when there is none. */
  readonly offsetBefore: number;
  /** The change that ends this offset; +Infinity when it is too far away to matter. */
  readonly closedAt: number;
  /** The offset after that change; `offset` itself when there is none. */
  readonly offsetAfter: number;
  /** In `[clearFrom, clearTo)` local times and instants correspond one to one, whatever the policies. */
  readonly clearFrom: number;
  readonly clearTo: number;

  constructor(
    page: { readonly from: number; readonly to: number },
    offset: number,
    opening: { readonly at: number; readonly before: number },
    closing: { readonly at: number; readonly after: number },
  ) {
    this.from = Math.max(page.from, opening.at);
    this.to = Math.min(page.to, closing.at);
    this.offset = offset;
    this.openedAt = opening.at;
    this.offsetBefore = opening.before;
    this.closedAt = closing.at;
    this.offsetAfter = closing.after;
    this.clearFrom = Math.max(this.from, opening.at + Math.abs(offset - opening.before));
    this.clearTo = Math.min(this.to, closing.at - Math.max(0, offset - closing.after));
  }
}
