// Limits of the deep check and of the models that it asks. See limits.ts.

/** A model that is loaded: the largest that is of use on a processor has 205 M parameters. */
export const MODEL_BYTES_MAX = 1024 * 1024 * 1024;
/** A manifest, or parity vectors: 6 rows of 512 and 832 numbers take 90 KB. */
export const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
/** What models look at and ahead: Chronos-2 takes 8,192 samples, Toto any number. */
export const CONTEXT_MAX = 8_192;
export const HORIZON_MAX = 1_024;
export const LEVELS_MAX = 99;
/** One run of a batch: 32 windows take 5 ms, 256 of a large model half a second. What takes longer hangs. */
export const RUN_MS_MAX = 2_000;
/** Loading a model: 0.2 s in native code, 1.5 s in WebAssembly, ten times that on a busy machine. */
export const MODEL_LOAD_MS_MAX = 20_000;
/** After a failure a runtime rests: doubled with each one within the window, from the first to the last. */
export const RUNTIME_REST_MS_MIN = 500;
export const RUNTIME_REST_MS_MAX = 60_000;
export const RUNTIME_FAILURES_MS = 10 * 60 * 1000;
/** A child process without a run for this long ends, and gives back its 90 to 180 MB; it is up again in half a second. */
export const RUNTIME_IDLE_MS = 5 * 60 * 1000;
/** Runs that wait for their turn at one runtime; each holds at most one batch. */
export const RUNS_WAITING_MAX = 64;
/** Calibration origins of one check: each is a window of its batch, 0.1 ms. */
export const ORIGINS_MAX = 7;
/** Checks that wait, two reads of a partition: at 8 windows each 3 s of work in native code; with 512 values of 8 bytes 8 MB. */
export const CHECKS_WAITING_MAX = 2_048;
/** Values of a window that is looked at: what the largest model takes, and what it looks ahead. */
export const WINDOW_VALUES_MAX = CONTEXT_MAX + HORIZON_MAX;
/** A batch that is not full is run after this: three runs of 32 windows. */
export const BATCH_MS = 20;
/** The budget of windows may be spent this many seconds ahead, so that a storm of candidates is checked from its start. */
export const BUDGET_BURST_SECONDS = 10;
/** A series is not checked again for this long, in stream time, unless its score has doubled. */
export const COOLDOWN_MS = 60_000;
/** Series whose last check is remembered for that: 64 bytes each. */
export const COOLDOWN_SERIES_MAX = 10_000;
/** A check is given up after this many times `deepCheck.waitMs`: a late verdict still explains the anomaly, but others wait. */
export const LATE_RATIO = 5;
/** Verdicts on their way to the log while the next ones are made. */
export const SENTENCE_LENGTH_MAX = 300;
/** One answer of a remote model: 256 windows of 99 levels and 64 steps of 4 bytes, 6.5 MB; as JSON three times that. */
export const REMOTE_ANSWER_BYTES_MAX = 32 * 1024 * 1024;
/** Connections to a remote model: batches are run one after another, and one is spare. */
export const REMOTE_CONNECTIONS_MAX = 2;
/** Requests for inference in work: one runs, the others wait for it; each may be as large as the next bound. */
export const INFER_REQUESTS_MAX = 32;
/** A request for inference: 256 windows of 512 values with their mask, 1 MB; as JSON ten times that. */
export const INFER_BODY_BYTES_MAX = 16 * 1024 * 1024;
