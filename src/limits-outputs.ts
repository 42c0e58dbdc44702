// Limits of what goes out: the shared store, the lease, and the outputs of scores. See limits.ts.

/** Redis Sentinels named in settings: three watch a master, and five are many. */
export const SENTINELS_MAX = 16;
/** A command of Redis without an answer: a healthy one answers within a millisecond, and half of a lease is left then. */
export const REDIS_COMMAND_MS_MAX = 3_000;
export const REDIS_CONNECT_MS_MAX = 3_000;
/** Pause between two tries to reach Redis: doubled up to this, for ever. */
export const REDIS_RETRY_MS_MAX = 2_000;
/** Keys of one answer of Redis when keys are listed or deleted: about a millisecond of its one thread. */
export const REDIS_KEYS_PER_TURN = 2_000;
/** How often the holder of a lease says that it is there, and others look. */
export const LEASE_BEAT_MS = 2_000;
/** A lease whose holder has not been heard of for this long is taken: five beats. The takeover is done within 30 s, loading included. */
export const LEASE_MS = 10_000;
/** So long before that the holder itself stops: what it has begun to send has ended by then, and clocks may differ in speed by a tenth. */
export const LEASE_MARGIN_MS = 2_500;
/** How often an api that shares its store writes what is new, or reads what the one that writes has decided. */
export const SHARING_MS = 500;
/** Decisions that an api hears of one by one; one that has missed more reads all of them. 30 bytes each. */
export const DECIDED_KEPT = 1_000;
/** Targets of the remote-write output. */
export const OUTPUTS_MAX = 8;
/** Samples of one request: what Prometheus sends at most by default. */
export const OUTPUT_BATCH_SAMPLES = 2_000;
/** Encoded requests that wait for one target: 32 MB at about 10 bytes a sample compressed are 3 M samples, half an hour of 25,000 flagged series each 15 s. */
export const OUTPUT_QUEUE_BYTES_MAX = 32 * 1024 * 1024;
/** A request to a target without an answer, as Prometheus has it. */
export const OUTPUT_ANSWER_MS_MAX = 30_000;
/** Pauses between tries of one request; a Retry-After may ask for more, up to the last one. */
export const OUTPUT_RETRY_MS_MIN = 100;
export const OUTPUT_RETRY_MS_MAX = 5_000;
export const OUTPUT_RETRY_AFTER_MS_MAX = 60_000;
/** What waits at the end of the process is sent within this time, or dropped. */
export const OUTPUT_DRAIN_MS_MAX = 3_000;
/** What a target says when it refuses, as far as it is logged. */
export const OUTPUT_REASON_CHARACTERS_MAX = 300;
/** The same complaint is logged once in this time, with how often it was left out. */
export const COMPLAINT_MS = 60_000;
/** Requests that are under way when the listener closes may end within this time. Above a slow body's own limit. */
export const CLOSE_MS_MAX = 25_000;
/** How often connections that have become idle are looked for then. */
export const CLOSE_LOOK_MS = 50;
/** How often receivers read and write who is elected of each pair: a tenth of the lead that takes over, and less. */
export const ELECTIONS_SHARED_MS = 2_000;
/** The elected one's newest timestamp is written when it is so much newer: half a write a scrape. */
export const ELECTION_NEWS_MS = 5_000;
/** A metric that has to be asked for elsewhere: a broker answers in milliseconds, and a scrape has 10 s for all of them. */
export const METRIC_MS_MAX = 2_000;
/** A receiver that starts asks so often, at pauses of a tenth of a second, before it goes by itself. */
export const ELECTION_START_TRIES = 20;
/** Of two receivers that write at one time one is refused and looks again; three would have to be unlucky twice. */
export const ELECTION_TRIES_MAX = 3;
