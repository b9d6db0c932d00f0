/** Shares one value per key for as long as somebody holds it; keys of values nobody holds disappear. */
export class InternTable<V extends object> {
  readonly #values = new Map<string, WeakRef<V>>();
  readonly #collected = new FinalizationRegistry<string>((key) => {
    // The key may have been given to a new value in the meantime.
    if (this.#values.get(key)?.deref() === undefined) this.#values.delete(key);
  });

  /** The value of a key, made on first use. What `make` throws is passed on, and nothing is kept. */
  intern(key: string, make: () => V): V {
    const known = this.#values.get(key)?.deref();
    if (known !== undefined) return known;
    const value = make();
    this.#values.set(key, new WeakRef(value));
    this.#collected.register(value, key);
    return value;
  }

  /** Keys at present, those of values about to be collected included. */
  get size(): number {
    return this.#values.size;
  }
}
