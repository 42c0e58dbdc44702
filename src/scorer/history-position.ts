// How far a partition's state has come in the log of history, and whether it still reads there. Part of every checkpoint:
// together with the offset in the samples log it says what the state was learnt from.

import type { Checkpoint } from '../gen/checkpoint_pb.js';

export class HistoryPosition {
  /** Offset in the log of history after what was read of it, the fence included; 0 for a state that began without. */
  next = 0;
  /** Blocks of samples among that: with the offset in the samples log they count what was applied. */
  records = 0;
  /** Until the fence has been met. */
  isReading = false;

  restore({ historyNext, historyRecords, inHistory }: Checkpoint): void {
    this.next = Number(historyNext);
    this.records = Number(historyRecords);
    this.isReading = inHistory;
  }
}
