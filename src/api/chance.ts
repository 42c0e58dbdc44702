// How high incidents rank by chance. Where there are several times more incidents than anybody wants to hear of, most of them
// are chance, and the ranks of chance fall off exponentially: so a stretch of all ranks tells how far out one has to look
// until only a few a day are left. The stretch ends below the highest two budgets of each day: all of these may be real, and
// what really happens must hardly move the line, however much of it there is.

import { BUDGET_DAY_RATIO, CHANCE_SHARE } from '../limits.js';

/** Fewer than this tell nothing. */
const RANKS_MIN = 20;
/** Where the stretch ends, at most and at least: below it there is too little. */
const UPPER_MAX = 0.9;
const UPPER_MIN = 0.2;
/** How long it is, if there is so much. Near the threshold ranks are denser than far out. */
const STRETCH = 0.4;

/**
 * The rank above which chance brings at most its share of the budget, when so many incidents a day have these ranks
 * (ascending). Minus infinity when that cannot be told: with few incidents, most may be what really happens.
 */
export function chanceLine(
  ranks: readonly number[],
  { aDay, budget }: { aDay: number; budget: number },
): number {
  const upper = Math.min(UPPER_MAX, 1 - (BUDGET_DAY_RATIO * budget) / aDay);
  if (ranks.length < RANKS_MIN || !(upper >= UPPER_MIN)) return Number.NEGATIVE_INFINITY;
  const last = ranks.length - 1;
  const from = Math.floor(Math.max(0, upper - STRETCH) * last);
  const to = Math.floor(upper * last);
  const lowest = ranks[from] as number;
  // What lies behind the stretch counts as if it ended there: the usual estimate of a sample that was cut off.
  let beyond = (last - to) * ((ranks[to] as number) - lowest);
  for (let i = from + 1; i <= to; i++) beyond += (ranks[i] as number) - lowest;
  const fall = beyond / (to - from);
  return lowest + fall * Math.log((aDay * (1 - from / last)) / (budget * CHANCE_SHARE));
}
