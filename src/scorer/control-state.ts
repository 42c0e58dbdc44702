// What a partition's state knows of control: how far it has come. Copies of control records reach it through the samples
// log only (docs/decisions/0010-control-in-replay.md), so the order of everything that changes the state is the order of
// that log. No kind of control record changes a score yet: each one keeps its place and is counted.

import type { ControlCopy } from '../gen/sample_block_pb.js';

export class ControlState {
  /** Offset in the control log after the newest record applied; part of the checkpoint and of the state hash. */
  next = 0;
  /**
   * Records of a kind that nobody here knows, copies that had come before, and records that were never copied (too large,
   * or deleted before that); since this state was loaded.
   */
  readonly counts = { unknown: 0, repeated: 0, missed: 0 };

  apply({ offset }: ControlCopy): void {
    const at = Number(offset);
    if (at < this.next) {
      this.counts.repeated++;
      return;
    }
    this.counts.missed += at - this.next;
    this.next = at + 1;
    this.counts.unknown++;
  }
}
