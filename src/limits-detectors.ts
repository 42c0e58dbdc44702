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
