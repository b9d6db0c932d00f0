/**
 * Deals out `total` among demands, as evenly as they let it: whoever demands less than an even share gets all of it, and what that leaves is
 * shared by the others. What does not divide goes to the first of them.
 *
 * @param demands whole numbers of at least 0
 * @returns the shares, in the order of the demands
 */
export function fairShares(demands: readonly number[], total: number): number[] {
  const shares = demands.map(() => 0);
  // The smallest demands first: what each leaves is known when the next is dealt its share.
  const order = [...demands.keys()].sort((a, b) => demands[a]! - demands[b]! || b - a);
  let left = total;
  order.forEach((place, index) => {
    const share = Math.min(demands[place]!, Math.floor(left / (order.length - index)));
    shares[place] = share;
    left -= share;
  });
  return shares;
}
