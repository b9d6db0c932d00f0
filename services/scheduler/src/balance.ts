/** A replica as balancing sees it. */
export interface ReplicaLoad {
  /** Its name. */
  readonly instance: string;
  /** How many shards it leads. */
  readonly leads: number;
  /** Whether it could lead one more at once. */
  readonly isReady: boolean;
  /** Whether it takes its share. One that has handed over does not. */
  readonly takesPart: boolean;
}

/**
 * How many shards a replica is to lead: its share if it takes part, and else none; or its share all the same, if nobody takes part.
 *
 * @param instance its name, whether or not it is among `replicas`
 * @param replicas all that live
 */
export function shareOf(instance: string, shards: number, replicas: readonly ReplicaLoad[]): number {
  const sharers = sharersOf(replicas);
  const isSharer = sharers.length === 0 || sharers.some((replica) => replica.instance === instance);
  return isSharer ? Math.ceil(shards / Math.max(1, sharers.length)) : 0;
}

/**
 * The replica that is to hand one shard over: of those that lead the most, the first by name, if the one that leads the fewest would still lead
 * no more than it afterwards. One that takes no part and leads nevertheless comes before all. Undefined: all is even.
 */
export function giverOf(replicas: readonly ReplicaLoad[]): string | undefined {
  const sharers = sharersOf(replicas);
  const takers = sharers.filter(({ isReady }) => isReady);
  if (takers.length === 0) return undefined;
  const least = Math.min(...takers.map(({ leads }) => leads));
  const givers = replicas
    .filter((replica) => (sharers.includes(replica) ? replica.leads >= least + 2 : replica.leads > 0))
    .sort(
      (a, b) =>
        Number(sharers.includes(a)) - Number(sharers.includes(b)) ||
        b.leads - a.leads ||
        (a.instance < b.instance ? -1 : 1),
    );
  return givers[0]?.instance;
}

function sharersOf(replicas: readonly ReplicaLoad[]): readonly ReplicaLoad[] {
  const sharers = replicas.filter(({ takesPart }) => takesPart);
  return sharers.length > 0 ? sharers : replicas;
}
