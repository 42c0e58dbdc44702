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
/** Bytes decoded and waiting for the log. At 24 B a sample about 5 M samples: seconds of work, and bounded memory. */
export const APPEND_BYTES_MAX = 128 * 1024 * 1024;
/** Bytes of request bodies being read at one time. Twice the largest body plus what 500 usual senders hold. */
export const READING_BYTES_MAX = 128 * 1024 * 1024;
/** A body that takes longer than this to arrive is given up (408): the sender's own limit is 30 s. */
export const BODY_READ_MS_MAX = 20_000;
/** X-Scope-OrgID, as Mimir bounds it. */
export const TENANT_BYTES_MAX = 150;
/** Series known per partition, scored or not: raw histogram buckets are known and not scored, and are often half. */
export const KNOWN_PER_SCORED = 3;
/** A series without samples for this long, in stream time, is forgotten. Longer than a weekend. */
export const SERIES_IDLE_MS = 4 * 24 * 60 * 60 * 1000;
/** When a partition is full, a series this idle makes room for a new one. */
export const SERIES_IDLE_WHEN_FULL_MS = 60 * 60 * 1000;
/** An open anomaly of a series that fell silent ends after this long, in stream time. */
export const SILENCE_MS = 5 * 60 * 1000;
/** How often, in stream time, silent and idle series are looked for. */
export const SWEEP_MS = 60 * 1000;
export const IDLE_SWEEP_MS = 60 * 60 * 1000;
/** What one read of a partition returns at most: a few records, so that the event loop comes round. */
export const READ_BYTES_MAX = 4 * 1024 * 1024;
/** Checkpoint chunks: well above lmdb's page size, well below the largest value. */
export const CHUNK_BYTES = 512 * 1024;
/** Checkpoints kept per partition: the newest, and one to fall back to. */
export const CHECKPOINTS_KEPT = 2;
/** Series with anomaly gauges per process. */
export const GAUGE_SERIES_MAX = 100_000;
/** Groups of anomaly_rate per process. */
export const RATE_GROUPS_MAX = 10_000;
/** Anomalies that the api keeps in view. */
export const ANOMALIES_MAX = 10_000;
/** A matcher on the command line or in a URL. */
export const MATCHER_LENGTH_MAX = 2048;
export const REGEX_LENGTH_MAX = 256;
/** Rows of one REST answer. */
export const PAGE_ROWS_MAX = 1000;
/** Waiting time between two tries of an append that failed. */
export const RETRY_MS_MIN = 100;
export const RETRY_MS_MAX = 5_000;
/** Series that the receiver knows to be announced: 16 bytes each, emptied when three quarters are taken. A power of two. */
export const SERIES_CACHE_ENTRIES = 2 ** 20;
