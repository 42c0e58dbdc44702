// Limits of the history that a new installation reads before its first live sample. See limits.ts.

/** Series of a history: their labels, at about 1.5 KB each, lie in memory while it is filled, 150 MB. */
export const HISTORY_SERIES_MAX = 100_000;
/** Points of a history that are put in the order of time at once: in two columns 13 MB, and two answers. A window is as long as that allows. */
export const HISTORY_WINDOW_POINTS = 800_000;
/** Series and characters of the names in one query of history: an address stays below what proxies cut. */
export const HISTORY_QUERY_SERIES = 20_000;
export const HISTORY_QUERY_CHARACTERS = 3_000;
/** Metric names of a history: 100 characters each, 2 MB. */
export const HISTORY_NAMES_MAX = 20_000;
/** Whoever fills history says so this often, in every partition: 60 bytes each. */
export const HISTORY_ALIVE_MS = 10_000;
/** And after so many steps: whoever goes on for a dead one writes no more than these again. */
export const HISTORY_STEPS_PER_MARK = 250;
/** Who fills is taken for dead after so long without a word: four of them, more than Kafka takes to find a new leader. */
export const HISTORY_STALE_MS = 45_000;
/** Scorers wait for so much longer than whoever fills, which gives up first if it lives. */
export const HISTORY_SILENCE_MS = 60_000;
/** Records that are looked at first, from the end, for the newest word about a history; eight times more if there is none. */
export const HISTORY_TAIL_RECORDS = 64;
/** Pauses while the history cannot be read: doubled from the first to the last. */
export const HISTORY_RETRY_MS_MIN = 1_000;
export const HISTORY_RETRY_MS_MAX = 60_000;
