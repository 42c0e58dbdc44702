// How high incidents rank by chance. Where there are ten times more incidents than anybody wants to hear of, most of them
// are chance, and the ranks of chance fall off exponentially: so the middle and the upper part of all ranks tell how far
// out one has to look until only a few a day are left. What really happens ranks above that and hardly moves this line.

import { CHANCE_SHARE } from '../limits.js';

/** Fewer than this tell nothing. */
const RANKS_MIN = 20;
/** The two points that the fall is measured between. */
const MIDDLE = 0.5;
const UPPER = 0.9;

/**
 * The rank above which chance brings at most its share of the budget, when so many incidents a day have these ranks
 * (ascending). Minus infinity when that cannot be told: with few incidents, the upper part may be what really happens.
 */
export function chanceLine(
  ranks: readonly number[],
  { aDay, budget }: { aDay: number; budget: number },
): number {
  if (ranks.length < RANKS_MIN || budget > aDay * (1 - UPPER)) return Number.NEGATIVE_INFINITY;
  const at = (share: number) => ranks[Math.floor(share * (ranks.length - 1))] as number;
  const fall = (at(UPPER) - at(MIDDLE)) / Math.log((1 - MIDDLE) / (1 - UPPER));
  return at(MIDDLE) + fall * Math.log((aDay * (1 - MIDDLE)) / (budget * CHANCE_SHARE));
}
