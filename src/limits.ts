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
/** Bytes of request bodies being read at one time: twice the largest body, or what 400 usual senders hold. */
export const READING_BYTES_MAX = 64 * 1024 * 1024;
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
/** Anomalies that the api keeps: about 0.8 KB each beside the labels of their series, which they share. */
export const ANOMALIES_MAX = 50_000;
/** Forgotten at once when they are too many, so that finding the oldest is paid for rarely. */
export const ANOMALIES_FORGOTTEN = 500;
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
/** Series scored by one process: 40 times what a busy Prometheus has. */
export const SERIES_MAX = 20_000_000;
/** Records of 832 B below the 4 GiB that one WebAssembly memory can have, with room to spare. */
export const SERIES_PER_PARTITION_MAX = 4_000_000;
/** Characters of a settings file. */
export const CONFIG_CHARACTERS_MAX = 1024 * 1024;
/** Selectors in ingest.keep and in ingest.drop: each is tried once per new series. */
export const RULES_MAX = 64;
/** Who may be listed in auth.credentials: each is compared with on every request, about 1 µs. */
export const CREDENTIALS_MAX = 64;
/** A token, a password, or what a client sends as one. */
export const SECRET_BYTES_MAX = 4096;
/** A certificate chain or a key. */
export const PEM_BYTES_MAX = 256 * 1024;
/** How often token, password, certificate and key files are looked at for a change. */
export const SECRET_CHECK_MS = 2_000;
/** A credential may use this many seconds of its rate at once, so that a sender's normal bursts pass. */
export const RATE_BURST_SECONDS = 10;
/** Labels looked for on every series, one bit each in the decoder. */
export const PARTITION_AND_STRIP_LABELS_MAX = 31;
/** Memory of the process before its first series: Node, decoder, log and page cache of it, as measured in bench/. */
export const PROCESS_BYTES = 256 * 1000 * 1000;
/** What a scored series costs at most: record, labels, tables, and the copy while a checkpoint is written. */
export const BYTES_PER_SERIES = 4096;
/** Symbols of a remote-write 2.0 request; Prometheus sends a few thousand. 72 bytes each. */
export const REQUEST_SYMBOLS_MAX = 2 ** 20;
/** References to symbols in one request: 200,000 series of 20 labels. */
export const REQUEST_REFERENCES_MAX = 8_000_000;
/** What the labels of one 2.0 request take when its symbols are written out; a 1.0 request cannot have more than it is long. */
export const REQUEST_LABEL_BYTES_MAX = 64 * 1024 * 1024;
/** Exemplars in one request; they are judged and counted, not kept. */
export const REQUEST_EXEMPLARS_MAX = 500_000;
/** Metadata in one request: each is about one family of metrics. */
export const REQUEST_METADATA_MAX = 200_000;
/** A native histogram as it is sent. Prometheus' own have at most 160 buckets, about 1 KiB. */
export const HISTOGRAM_BYTES_MAX = 64 * 1024;
/** Families of metrics whose type the receiver keeps: 16 bytes each, filled to three quarters. A power of two. */
export const FAMILY_ENTRIES = 2 ** 17;
/** Different units, and the length of one; OpenMetrics knows about a dozen, all short. 8 bits of a cache entry. */
export const UNITS_MAX = 255;
export const UNIT_BYTES_MAX = 60;
/** One answer of a Prometheus that is asked: its list of 10,000 targets has about 20 MB. */
export const PROMETHEUS_ANSWER_BYTES_MAX = 64 * 1024 * 1024;
export const PROMETHEUS_ANSWER_MS_MAX = 30_000;
/** A log record's bytes per sample, as logged and compressed; of samples in a remote-write 1.0 body, compressed. */
export const LOGGED_BYTES_PER_SAMPLE = 20;
export const SENT_BYTES_PER_SAMPLE = 72;
/** Samples per second that one core receives, logs and scores: a quarter of what was measured, for busy machines. */
export const SAMPLES_PER_CORE_SECOND = 125_000;
/** Buckets of one histogram that are scored; Prometheus' clients make 10 to 20 classic ones and up to 160 native ones. */
export const HISTOGRAM_BUCKETS_MAX = 512;
/** An interval is scored when it holds so many observations; until then it goes on. A 0.99-quantile of fewer is noise. */
export const HISTOGRAM_OBSERVATIONS_MIN = 50;
/** Or this share of what one scrape usually brings; at most this long, which is how late a quiet hour may be judged. */
export const HISTOGRAM_USUAL_SHARE = 0.8;
export const HISTOGRAM_WAIT_MS_MAX = 5 * 60 * 1000;
/** Time constant of what is usual, in intervals: 8 hours at one every 15 s. */
export const HISTOGRAM_USUAL_INTERVALS = 2048;
/** Without enough it ends after this: what was observed an hour apart is not one shape. */
export const HISTOGRAM_INTERVAL_MS_MAX = 60 * 60 * 1000;
/** A classic bucket that others of its set have come without this many times is no longer waited for. */
export const HISTOGRAM_MISSES_MAX = 20;
/** Time constant of a histogram's learnt shape, in intervals: an hour at one every 15 s. */
export const HISTOGRAM_REFERENCE_INTERVALS = 256;
/** Observations as expected that are mixed into an interval before its shape is compared. */
export const HISTOGRAM_PRIOR_OBSERVATIONS = 100;
/** Brokers named in settings: a client needs one that answers, and a cluster has dozens. */
export const BROKERS_MAX = 64;
/** A request to a broker without an answer, and a connection to one: then the connection is given up. Longer than Kafka takes to fence a dead broker (9 s), so that most appends are acknowledged late rather than twice. */
export const KAFKA_REQUEST_MS_MAX = 12_000;
export const KAFKA_CONNECT_MS_MAX = 3_000;
/** What a broker waits for its followers before it answers a produce request: less than we wait for the broker. */
export const KAFKA_REPLICATION_MS_MAX = 10_000;
/** An append without an acknowledgement for this long is refused (503). A killed broker stops acknowledgements for 8 to 13 s. */
export const APPEND_MS_MAX = 5_000;
/** A member that is silent for this long loses its partitions; three heartbeats fit in. */
export const KAFKA_SESSION_MS = 6_000;
export const KAFKA_HEARTBEAT_MS = 1_500;
/** How long the group waits for a member to join again: its longest step, between two turns of the event loop. */
export const KAFKA_REBALANCE_MS_MAX = 10_000;
/** A fetch with nothing to return waits this long at the broker; while others have their buffers full, this long. */
export const FETCH_WAIT_MS = 250;
export const FETCH_WAIT_BUSY_MS = 10;
/** One answer, and one partition's part of it: above the largest record, so that each fetch brings one at least. */
export const FETCH_BYTES_MAX = 8 * 1024 * 1024;
export const FETCH_PARTITION_BYTES_MAX = 2 * 1024 * 1024;
/** Bytes read ahead for one partition, and for all of one subscription together; each may be passed by one answer. */
export const READ_AHEAD_BYTES_MAX = 4 * 1024 * 1024;
export const SUBSCRIPTION_BYTES_MAX = 32 * 1024 * 1024;
/** Offsets are committed for lag tools only: at most once in this time, all partitions in one request. */
export const COMMIT_INTERVAL_MS = 1_000;
/** The same complaint of the Kafka client is logged once in this time, with how often it was left out. */
export const KAFKA_LOG_INTERVAL_MS = 60_000;
/** Different complaints that are told apart: the client has about a hundred. */
export const KAFKA_COMPLAINTS_MAX = 256;
/** max.message.bytes that a topic needs: the largest record, its header with the log id, and the frame of a batch. */
export const KAFKA_MESSAGE_BYTES_MAX = RECORD_BYTES_MAX + 4096;
/** What a record costs in a batch beside its value: the log id, lengths and attributes, about 80 bytes. */
export const KAFKA_RECORD_OVERHEAD_BYTES = 128;
/** Where a partition begins and ends is asked for this long: leadership that moves in order takes 1 s, a killed broker 8 s. */
export const BOUNDS_MS_MAX = 10_000;
/** Ids of other logs that were met in records and found to be harmless. */
export const FOREIGN_IDS_MAX = 64;
/** Bytes that a block of a state file gathers before it is written: as a chunk of a checkpoint, small beside what is held. */
export const STATE_BLOCK_BYTES = 512 * 1024;
/**
 * A block of a state file at most. The last thing that a block takes may be one series, 64 labels of 9 KiB and a record,
 * or one histogram, 64 KiB of buckets at 12 bytes twice: both below 1.5 MiB.
 */
export const STATE_BLOCK_BYTES_MAX = 2 * 1024 * 1024;
/** What an import holds at once of the partitions that it fills; one that is larger alone must fit, as it must later. */
export const IMPORT_BYTES_MAX = 512 * 1024 * 1024;
/** Keys in one send of the state store, which has RECORD_BYTES_MAX at most: it waits for the disk, not for their number. */
export const STORE_SEND_RECORDS_MAX = 2_000;
/** How long a call of the state store on Kafka may try: a killed broker stops acknowledgements for 8 to 13 s. */
export const STORE_MS_MAX = 30_000;
/** An index of the state store that has not followed for this long is made anew: a deletion stays in the topic for twice that. */
export const STORE_INDEX_MS_MAX = 12 * 60 * 60 * 1000;
/** `treeline score` reads files in pieces of this size; larger ones are not faster. */
export const CSV_CHUNK_BYTES = 256 * 1024;
/** One row of a CSV file: a thousand columns of a kilobyte. A quote that is never closed is found after this. */
export const CSV_ROW_BYTES_MAX = 1024 * 1024;
/** Files of one call: as many as a folder of a file system usually bears. */
export const CSV_FILES_MAX = 100_000;
/** Columns of one file that are scored at once: each has an open output, and a process usually may have 1,024. */
export const CSV_COLUMNS_MAX = 256;
/** Threads of one call: more than any machine has cores. */
export const SCORE_JOBS_MAX = 256;
/** Pieces of output that a thread may have on their way to standard output: 16 of about 100 KB. */
export const SCORE_BACKLOG_MAX = 16;
/** Anomalies of one series that are listed; beyond it the highest are, and all are counted. */
export const LISTED_ANOMALIES_MAX = 1000;
/** Places on the time axis of a plot, about one per pixel: 72 KB a series. Even. */
export const PLOT_COLUMNS = 1024;
/** Series in one plot; beyond it the highest scores are shown. At 100 KB of drawing each, a page stays below 20 MB. */
export const PLOT_SERIES_MAX = 200;
/** Clusters whose replicas are told apart: at most 1,000 names of 2 x 256 characters, half a megabyte. */
export const REPLICA_CLUSTERS_MAX = 1000;
export const REPLICA_TEXT_CHARS_MAX = 256;
/** How far another replica must be ahead of the elected one, in stream time, to take over. Grafana Mimir waits as long. */
export const REPLICA_TAKEOVER_MS = 30 * 1000;
/** Or as long as the elected one pauses between scrapes, which is learnt and fades over this long. */
export const REPLICA_RHYTHM_MS_MAX = 10 * 60 * 1000;
/** A cluster this far behind, in stream time, makes room for another when the table is full. */
export const REPLICA_FORGET_MS = 24 * 60 * 60 * 1000;
/**
 * How long a log that seems to end before a checkpoint is asked again before it is believed: after a change of leadership
 * Kafka's end of a partition may lie behind for as long as its replicas need, usually less than a second.
 */
export const TRUNCATION_MS_MIN = 5_000;
/** A record of the control log: a matcher, a window, a few thresholds. A copy of it must fit into a samples record. */
export const CONTROL_BYTES_MAX = 64 * 1024;
/** Anomalies join an incident by what they share when their onsets are at most this far apart: a few scrapes and lags. */
export const TOGETHER_MS = 2 * 60 * 1000;
/** And by their entity: its parts may need longer to show. */
export const ENTITY_MS = 5 * 60 * 1000;
/** Counted from the first onset, so that chance does not chain a noisy day into one incident. */
export const INCIDENT_SPAN_MS = 15 * 60 * 1000;
/** An anomaly that begins this soon after the last one of its series ended is the same incident: it flaps. */
export const REJOIN_MS = 15 * 60 * 1000;
/** But after a day it is an incident of its own: somebody should hear of it again. */
export const FLAPPING_MS_MAX = 24 * 60 * 60 * 1000;
/**
 * A shared label that began more incidents than this within a day says nothing: at one every 10 minutes, two that have
 * nothing to do with each other fall within TOGETHER_MS of each other in one of five cases.
 */
export const COMMON_STARTS_MAX = 144;
/** Days of incidents that a new one is ranked among. */
export const BUDGET_DAYS = 7;
/** Notified within 24 hours at most, in budgets: what quiet days saved may be spent in a bad one. */
export const BUDGET_DAY_RATIO = 2;
/** Notified within BUDGET_DAYS at most, in budgets of those days. */
export const BUDGET_WEEK_RATIO = 1.2;
/** Of a series of which less than a day's worth of samples is known, a score counts as this part of it. */
export const YOUNG_MS = 24 * 60 * 60 * 1000;
export const YOUNG_SHARE = 0.5;
/** The part of the budget that may go to chance. */
export const CHANCE_SHARE = 0.1;
/** A new installation notifies nobody for this long, in stream time. */
export const SHADOW_MS = 7 * 24 * 60 * 60 * 1000;
/** Incidents that began longer ago than this, by the clock, are history and not news. */
export const NEWS_MS_MAX = 60 * 60 * 1000;
/** What has changed is grouped, decided and told at most this often; a change waits no longer than this. */
export const REFRESH_MS = 250;
/** After a false alarm, deviations up to so many times the marked one are not notified: the same again, with its noise. */
export const FALSE_ALARM_RATIO = 1.5;
/** Feedback and maintenance windows in force of all tenants. A selector costs about 0.2 µs per anomaly judged. */
export const FEEDBACK_MAX = 10_000;
export const MAINTENANCE_MAX = 1_000;
/** Selectors of one record of either. */
export const CONTROL_SELECTORS_MAX = 16;
export const COMMENT_LENGTH_MAX = 500;
/** How long feedback holds unless it says otherwise. */
export const FEEDBACK_MS = 90 * 24 * 60 * 60 * 1000;
/** Readers of the event stream; what each may have waiting; what is kept for those who come back. */
export const STREAM_CLIENTS_MAX = 256;
export const STREAM_BYTES_MAX = 256 * 1024;
export const STREAM_EVENTS_MAX = 2_048;
export const STREAM_PAUSE_MS = 15_000;
/** Alertmanager forgets an alert that is not sent again: sent every minute, and good for four. */
export const ALERT_RESEND_MS = 60_000;
export const ALERT_GOOD_MS = 4 * ALERT_RESEND_MS;
export const ALERT_ANSWER_MS_MAX = 10_000;
/** Alerts of one request, and resolved ones that wait until a receiver has heard of them. */
export const ALERTS_PER_REQUEST = 64;
export const ALERTS_RESOLVED_MAX = 1_024;
/** Receivers of alerts; each gets every alert. */
export const ALERTMANAGERS_MAX = 8;
/** Families of metrics that one control record tells other receivers of: 100 bytes each, well below CONTROL_BYTES_MAX. */
export const FAMILIES_PER_RECORD = 500;
/** What `treeline report` reads: as far back as anomalies are kept, and firings of 300 bytes, 30 MB. */
export const REPORT_LAST_MS_MAX = 90 * 24 * 60 * 60 * 1000;
export const REPORT_FIRINGS_MAX = 100_000;
/** Pages of PAGE_ROWS_MAX rows: twice the anomalies that are kept. */
export const REPORT_PAGES_MAX = 100;
/** Scorers that an api asks: one for each partition there can be. */
export const SCORERS_MAX = 64;
/** How long one scorer may take to answer the api; a person waits for it. */
export const SCORER_ANSWER_MS_MAX = 1_000;
/** With a hash of its state, which takes a copy of it: 800,000 series of 832 bytes are hashed in a few seconds. */
export const SCORER_HASH_MS_MAX = 30_000;
/** A page that has taken so long asks no further scorer: three that do not answer would make it four seconds. */
export const SCORER_PAGE_MS = 2_000;
/** One answer: PAGE_ROWS_MAX rows of 4 KB. */
export const SCORER_ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** Answers that are being read at one time: 16 of the largest, or 64 usual pages. */
export const SCORER_READING_BYTES_MAX = 64 * 1024 * 1024;
/** Connections to one scorer; a question that finds none free waits, within its deadline. */
export const SCORER_CONNECTIONS_MAX = 16;
/** How long the addresses of a name are believed, and when one that had none is asked again. */
export const SCORER_NAMES_MS = 30_000;
export const SCORER_NAME_RETRY_MS = 1_000;
/** What a Prometheus says of an error or a warning, as far as it is shown. */
export const PROMETHEUS_REASON_CHARACTERS_MAX = 400;
/** Its warnings that are shown: it repeats them for each series. */
export const PROMETHEUS_WARNINGS_MAX = 20;
/** Points of one series in one answer: Prometheus refuses more than 11,000. */
export const RANGE_STEPS_MAX = 11_000;
/** Points of one answer that we aim at: 25 bytes each on the wire, about 100 while they are parsed, 40 MB in all. */
export const RANGE_ANSWER_POINTS = 400_000;
/** One answer of history: at the points above 10 MB; labels of 50,000 series may add 20 MB. Parsed it is about 5 times that. */
export const RANGE_ANSWER_BYTES_MAX = 48 * 1024 * 1024;
/** What Prometheus itself may take for one query: its own `--query.timeout` is two minutes. */
export const RANGE_ANSWER_MS_MAX = 120_000;
/** Series of one query of history: at about 2 KB for labels, record and events, 100 MB. */
export const RANGE_SERIES_MAX = 50_000;
/** Points of one series over a whole range: a year of minutes. */
export const RANGE_POINTS_MAX = 530_000;
/** Tries of one request, with pauses of 0.5, 1, 2, 4, 8 and 15 s between them: a restart of Prometheus fits in. */
export const RANGE_TRIES_MAX = 7;
/** And before the first answer of all: who mistyped an address is told after two seconds. */
export const RANGE_FIRST_TRIES_MAX = 3;
export const RANGE_RETRY_MS_MIN = 500;
export const RANGE_RETRY_MS_MAX = 15_000;
/** Requests for history begin so far apart at least, one at a time: others use that Prometheus too. */
export const RANGE_REQUEST_MS_MIN = 100;
/** A token or password that is sent to a Prometheus. */
export const SENT_SECRET_BYTES_MAX = 8 * 1024;
/** Anomalies of one backtest: at 100 bytes each 50 MB. Who has more has asked for series that nobody would be alerted on. */
export const BACKTEST_ANOMALIES_MAX = 500_000;
/** Rows that a backtest prints for people; as JSON all are. */
export const BACKTEST_ROWS_MAX = 50;
/** Series that a plot chooses from: at 72 KB each 144 MB. */
export const BACKTEST_PLOT_SERIES_MAX = 2_000;
/** Selectors that a backtest proposes: more are no advice. */
export const SUGGESTED_SELECTORS_MAX = 20;
/** Prometheus queries that are pulled: each is a request every few seconds. */
export const SOURCES_MAX = 64;
/** A query in the settings, in characters: longer ones belong into a recording rule. */
export const SOURCE_QUERY_CHARACTERS_MAX = 8_192;
/** Series in one pulled vector: at 300 bytes of JSON each 15 MB. */
export const PULL_SERIES_MAX = 50_000;
/** Series of it that enter the receiver at once, as many as Prometheus sends: the event loop comes round between them. */
export const PULL_BODY_SERIES_MAX = 2_000;
/** Pauses while a source does not answer: doubled from the first to the last, for ever. */
export const PULL_RETRY_MS_MIN = 1_000;
export const PULL_RETRY_MS_MAX = 60_000;
/** Samples of a backfill's chunk that are put in the order of time: 16 bytes each; what a server gives beyond it is too much. */
export const BACKFILL_CHUNK_POINTS_MAX = 4_000_000;
/** Values that a series' window holds: what a model of the deep check looks at. A power of two. */
export const WINDOW_STEPS = 512;
/** 4 bytes a value and a head of 64; see src/scorer/windows.ts. */
export const WINDOW_BYTES_PER_SERIES = 4 * WINDOW_STEPS + 64;
/** Candidates with a window in one batch of a partition: 4 KB each. More at once than the deep check judges in a minute. */
export const BATCH_WINDOWS_MAX = 1_000;
/** Verdicts that a scorer remembers, so that one read before its candidate is replayed is not lost: 120 bytes each. */
export const VERDICTS_KNOWN_MAX = 50_000;
/** Records of the verdicts log that a scorer reads back, per partition, for anomalies that are still open. */
export const VERDICTS_READ_BACK = 50_000;
/** A record of the verdicts log: a dozen numbers and a sentence. */
export const VERDICT_BYTES_MAX = 8 * 1024;
/** Verdicts that the api keeps for anomalies it has not read yet: 300 bytes each. Candidates are read at the same time. */
export const EARLY_VERDICTS_MAX = 10_000;
/** How often windows are saved while a process runs; after a crash so much of them may be missing, 40 of 512 values at 15 s. */
export const WINDOWS_SAVED_MS = 10 * 60 * 1000;
/** Rules in detection.rules: each is tried once per series, at about 0.3 µs, when it is announced. 3 lists have room in the forest's memory. */
export const NOISE_RULES_MAX = 64;
/** Samples that N of M looks back on: the bits of one word. */
export const NOISE_SAMPLES_MAX = 32;
/** Series that are given other rules between two turns of the event loop: at 10 to 20 µs each 5 ms at most. */
export const NOISE_SERIES_PER_TURN = 250;
/** Control records in force that a partition's state keeps: as many as there may be, at 300 bytes each 3 MB; larger ones are refused before. */
export const CONTROL_KEPT_MAX = FEEDBACK_MAX + MAINTENANCE_MAX;
export const CONTROL_KEPT_BYTES_MAX = 16 * 1024 * 1024;
/** Accepted shifts of single series that a partition's state can undo, at 20 bytes each. */
export const SHIFTS_KEPT_MAX = 10_000;
/** Series of a partition that are marked as not suited; at 5 bytes each in the manifest of a checkpoint, which a Kafka record must hold, 250 KB. */
export const UNSUITED_MAX = 50_000;
/** Weekly windows are looked up for so long at once: three times this long, about 24 windows. */
export const WINDOWS_MS = 8 * 24 * 60 * 60 * 1000;
/** Files of the web page: an index, a script, a style and a few that are loaded when wanted. */
export const PAGE_FILES_MAX = 64;
/** One file of it, in memory three times (as it is, gzip, br): the script has 0.1 MB. */
export const PAGE_BYTES_MAX = 4 * 1024 * 1024;
/** How far back the older values of one series are read through: a month and the days beside it. */
export const PAST_SPAN_MS_MAX = 35 * 24 * 60 * 60 * 1000;
/** Values of one such reading, and how many unless said: about one for two pixels of a chart. */
export const PAST_POINTS_MAX = 2_000;
export const PAST_POINTS = 500;
/** How long a person waits for them, all tries together. */
export const PAST_ANSWER_MS_MAX = 5_000;
/** One answer: 2,000 values of 35 bytes are 70 KB; a query of `sources` brings its other series too, 28 of that length. */
export const PAST_ANSWER_BYTES_MAX = 2 * 1024 * 1024;
/** Readings at one time: parsed an answer is about 5 times its bytes, 40 MB in all; who comes then is asked to come again. */
export const PAST_READS_MAX = 4;
/** How long it is believed what labels a Prometheus adds to what it sends. */
export const PAST_LABELS_MS = 10 * 60 * 1000;
/** Series of `gauges.scores: top-k` unless told otherwise: a page of a dashboard, 500 gauges. */
export const GAUGE_TOP_K = 100;
/** How often it is chosen anew who they are: 100,000 series are asked for their scores, 0.1 s in turns. */
export const GAUGE_SEATING_MS = 60_000;
/** Series that are asked for their numbers before others have their turn: at 1 to 2 µs each 4 ms. */
export const GAUGE_ROWS_PER_TURN = 2_000;
/** What ended so long ago may still fire at an Alertmanager: an end is known five samples later, at five minutes each half an hour. */
export const ALERT_ENDED_MS = 60 * 60_000;
