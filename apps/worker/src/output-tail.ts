/** The end of what was written: however much that is, no more than a limit is kept. */
export class OutputTail {
  readonly #limitBytes: number;
  #kept: Buffer = Buffer.alloc(0);
  #written = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes that were written. */
  push(chunk: Uint8Array): void {
    this.#written += chunk.length;
    this.#kept = Buffer.concat([this.#kept, chunk.subarray(-this.#limitBytes)]).subarray(-this.#limitBytes);
  }

  /** How many bytes were left out, before what is kept. */
  get omitted(): number {
    return this.#written - this.#kept.length;
  }

  /** The text; bytes that are no UTF-8, as at a cut through a character, appear as U+FFFD. */
  toString(): string {
    return new TextDecoder().decode(this.#kept);
  }
}
