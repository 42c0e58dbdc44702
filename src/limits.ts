// Every fixed bound, with the arithmetic that justifies it. A container that is not bounded by a setting is bounded
// by a constant from this file.

/** Compressed request body. Prometheus sends at most 2,000 samples, about 150 KiB; 32 MiB is what its own receiver takes. */
export const BODY_BYTES_MAX = 32 * 1024 * 1024;
/** The same after snappy, judged by the declared length before anything is written. */
export const DECODED_BYTES_MAX = 32 * 1024 * 1024;
/** Series in one request: 100 times what Prometheus sends. */
export const REQUEST_SERIES_MAX = 200_000;
/** Samples in one request. */
export const REQUEST_SAMPLES_MAX = 500_000;
export const LABELS_PER_SERIES_MAX = 64;
export const LABEL_NAME_BYTES_MAX = 1024;
export const LABEL_VALUE_BYTES_MAX = 8192;
/** Samples further in the future than this are refused, as Prometheus and Mimir do. */
export const FUTURE_MS_MAX = 10 * 60 * 1000;
/** Every series is announced again at least this often. */
export const ANNOUNCE_INTERVAL_MS = 10 * 60 * 1000;
/** A record of the log; Kafka's default limit is 1 MiB. */
export const RECORD_BYTES_MAX = 900 * 1000;
