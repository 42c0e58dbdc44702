// What went wrong with Kafka and was mended, counted for those who watch. Nobody is told of these one by one.

export interface KafkaCounters {
  /** Appends that were refused: no acknowledgement in time, or not to be mended. */
  appendsFailed: number;
  /** Times that a batch of records was sent again; each may be in the log twice. */
  appendsRepeated: number;
  /** Records that were acknowledged after their sender had been told to try again: they will be there twice. */
  appendsLate: number;
  /** Times that a member joined its group again: partitions stop for that long. */
  rejoins: number;
  /** Members that failed and were started anew. */
  crashes: number;
  /** Commits of offsets that the coordinator refused; only tools that show lag look at them. */
  offsetsRefused: number;
  /** Fetches that failed and were repeated. */
  fetchesFailed: number;
  /** Records that carry the id of another log, and were handed out all the same since ours is in force. */
  foreignRecords: number;
}

export function kafkaCounters(): KafkaCounters {
  return {
    appendsFailed: 0,
    appendsRepeated: 0,
    appendsLate: 0,
    rejoins: 0,
    crashes: 0,
    offsetsRefused: 0,
    fetchesFailed: 0,
    foreignRecords: 0,
  };
}
