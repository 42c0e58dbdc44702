// The log port. A log is a set of topics; a topic is a fixed number of partitions; a partition is a
// sequence of records with increasing offsets. Two adapters: lmdb in one process, Kafka in a
// cluster. The contract below is checked on every adapter by test/log-contract.ts.

export const TOPICS = [
  'samples',
  'backfill',
  'candidates',
  'verdicts',
  'control',
  'anomalies',
] as const;

export type Topic = (typeof TOPICS)[number];

export interface LogRecord {
  offset: number;
  /** Valid until the next read of the same partition. */
  value: Uint8Array;
}

export interface Batch {
  records: LogRecord[];
  /** Offset to read next. */
  next: number;
  /**
   * Records between the wanted offset and the first one still there: deleted by retention, never
   * silently skipped.
   */
  gap: number;
}

export interface Bounds {
  /** Offset of the oldest record still there; equals `high` when the partition is empty. */
  low: number;
  /** Offset that the next record will get. */
  high: number;
  /**
   * Samples appended to this partition, as far as this log can tell: ever, counted in the same
   * transaction as the append, on the embedded log; by this process since it started, on Kafka.
   */
  samples: number;
}

/**
 * What a consumer hears about the partitions it may read. There may never be a word when one is
 * lost. A partition that stays through a rebalance is not spoken of again; one that a read was
 * refused for as lost is, when it comes back.
 */
export interface Assignment {
  onAssigned(partition: number): void;
  onLost(partition: number): void;
  /**
   * A round of sharing out is over, and every word about it has been said: a consumer that owns
   * nothing knows it by this. Called at least once, after the first round.
   */
  onShared?(): void;
}

export interface Subscription {
  /**
   * Resolves with at least one record from `from` on, as soon as there is one, and with at most
   * about `bytesMax` bytes (one record is always given whole). Where offsets are taken by what is
   * no record (on Kafka the ends of transactions, and what the log says of itself), with none, and
   * `next` behind them. Rejects with the signal's reason once it is aborted, and with an
   * OperatingError: `log_truncated` for an offset beyond `high` (the log was truncated or replaced),
   * `partition_lost` when the partition is somebody else's now.
   */
  read(partition: number, from: number, bytesMax: number, signal: AbortSignal): Promise<Batch>;
  /** Where this consumer stands, for lag tools only: the truth is in the checkpoint. */
  commit(partition: number, next: number): Promise<void>;
  close(): Promise<void>;
}

export interface Log {
  /** Names this very log: offsets of another log mean nothing here. */
  readonly id: string;
  readonly partitions: number;
  /**
   * Resolves with the record's offset once it is durable (flushed, or acknowledged by all in-sync
   * replicas). Rejects with an OperatingError; then the record may or may not be in the log, and
   * the sender is told to retry. Appends to one partition get offsets in the order of the calls.
   * The caller may not change `value` before that.
   */
  append(topic: Topic, partition: number, value: Uint8Array, samples: number): Promise<number>;
  bounds(topic: Topic, partition: number): Promise<Bounds>;
  /**
   * With a `group` the partitions are shared out among all subscribers that name it, in whatever
   * process, as soon as they can be: it is not waited for. Without one, and on a log that only one process can open, all of them are this
   * subscriber's.
   */
  subscribe(topic: Topic, assignment: Assignment, group?: string): Promise<Subscription>;
  close(): Promise<void>;
}
