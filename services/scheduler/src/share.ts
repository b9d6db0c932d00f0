/** How many leases this replica is to hold, of all shards together, and how many it holds or asks for. */
export class Share {
  #limit = Number.POSITIVE_INFINITY;
  #taken = 0;

  /** How many it holds or asks for. */
  get taken(): number {
    return this.#taken;
  }

  /** Sets how many it is to hold. Default: as many as there are. */
  set limit(limit: number) {
    this.#limit = limit;
  }

  /**
   * Takes a place for one lease more; false if there is none left. Whoever took it gives it back when the lease is not granted, or lost.
   *
   * @param regardless whether there need be none
   */
  take(regardless: boolean): boolean {
    if (!regardless && this.#taken >= this.#limit) return false;
    this.#taken++;
    return true;
  }

  giveBack(): void {
    this.#taken--;
  }
}
