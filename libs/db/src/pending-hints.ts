/** Most distinct payloads that are kept of a channel. */
const MAX_PAYLOADS = 1_000;

/** Announcements that wait to be passed on: bounded, because they are hints, and "anything" is one too. */
export class PendingHints {
  #channels = new Map<string, Set<string> | 'many'>();

  get isEmpty(): boolean {
    return this.#channels.size === 0;
  }

  add(channel: string, payload: string): void {
    const payloads = this.#channels.get(channel);
    if (payloads === 'many') return;
    if (payloads === undefined) this.#channels.set(channel, new Set([payload]));
    else if (payloads.has(payload) || payloads.size < MAX_PAYLOADS) payloads.add(payload);
    else this.#channels.set(channel, 'many');
  }

  /** Hands all out, and starts anew. */
  take(): Map<string, ReadonlySet<string> | 'many'> {
    const taken = this.#channels;
    this.#channels = new Map();
    return taken;
  }
}
