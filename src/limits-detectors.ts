// Limits of detectors and of the entities that they gather. See limits.ts.

/** Detectors; each tries its selectors on every new series, a few microseconds. */
export const DETECTORS_MAX = 8;
/** Features of one: a bit each in the mask of a vector, and 16 x 17 / 2 proportions to learn. */
export const DETECTOR_FEATURES_MAX = 16;
/** Labels that name an entity. */
export const DETECTOR_LABELS_MAX = 8;
/** Series of one entity: each is looked at when a vector is complete. */
export const ENTITY_SERIES_MAX = 2_048;
/** How long after the last word of an entity a new one of its workload may inherit: a slow rollout. */
export const HAND_OVER_MS = 60 * 60 * 1000;
/** Siblings that a newcomer is compared with at each of its first vectors. */
export const HAND_OVER_SIBLINGS_MAX = 256;
/** A bequest of a sibling whose newest vector is so much ahead of the partition's stream time is not taken. */
export const HAND_OVER_AHEAD_MS = 60 * 1000;
/** Vectors that what was borrowed counts as at most: own ones weigh as much after four hours at 15 s. */
export const LOAN_VECTORS = 1_000;
/** Newcomers and wishes that are older are nobody's any more: they come from a replay. */
export const HERITAGE_FRESH_MS = 10 * 60 * 1000;
/**
 * Newcomers of one partition that ask in one turn; the rest learn by themselves. With 64 partitions 1,024 pods in ten
 * seconds, and at 200 bytes a wish in every partition 13 MB for all of them.
 */
export const HERITAGE_WISHES_MAX = 16;
export const WISHES_TURN_MS = 10 * 1000;
/** Words that wait to be sent; at most 5 KB each, 20 MB. A turn of wishes into 64 partitions are 1,024. */
export const HERITAGE_WORDS_MAX = 4_096;
/** Of one record, which may have 900 KB. */
export const HERITAGE_WORDS_PER_RECORD = 128;
