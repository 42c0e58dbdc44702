// The state of one partition and the one way it changes: a record of the samples log is applied. Everything here is a
// pure function of the records in offset order; time is stream time, the newest timestamp applied. What a checkpoint
// keeps and what the state hash covers is exactly what this class holds.

import { strict as assert } from 'node:assert';
import { fromBinary } from '@bufbuild/protobuf';
import { SeriesInfoSchema } from '../gen/sample_block_pb.js';
import {
  IDLE_SWEEP_MS,
  KNOWN_PER_SCORED,
  SERIES_IDLE_MS,
  SERIES_IDLE_WHEN_FULL_MS,
  SILENCE_MS,
  SWEEP_MS,
} from '../limits.js';
import type { Run } from '../sample-block.js';
import type { Label } from '../series.js';
import { type Announced, readAnnouncement } from './announcement.js';
import { ControlState } from './control-state.js';
import { DerivedQueue, wordsOf } from './derived-queue.js';
import type { DetectorSet } from './detectors.js';
import { Entities } from './entities.js';
import { HistogramSampleReader } from './histogram-sample.js';
import { Histograms } from './histograms.js';
import { HistoryPosition } from './history-position.js';
import { NoiseControl } from './noise-control.js';
import type { PartitionHooks } from './phase-change.js';
import { type Announcement, readRecord } from './readable-record.js';
import { RunColumns } from './run-columns.js';
import { NO_ENTRY, NO_SLOT, Slots } from './slots.js';
import type { WasmForest } from './wasm-forest.js';

export const OUTCOMES = [
  'applied',
  'duplicate',
  'conflict',
  'late',
  'refused',
  'unscored',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

const PHASES = ['none', 'onset', 'peak', 'end'] as const;
const CAUSES = ['none', 'novelty', 'magnitude', 'quiet'] as const;

export class Partition {
  readonly forest: WasmForest;
  readonly slots: Slots;
  readonly histograms: Histograms;
  readonly entities: Entities;
  readonly control = new ControlState();
  readonly noise: NoiseControl;
  readonly history = new HistoryPosition();
  readonly counts: Record<Outcome, number> = {
    applied: 0,
    duplicate: 0,
    conflict: 0,
    late: 0,
    refused: 0,
    unscored: 0,
  };
  gapRecords = 0;
  streamTimeMs = Number.NEGATIVE_INFINITY;
  nextSweepMs = Number.NEGATIVE_INFINITY;
  /** Entries whose flag is up. */
  readonly flagged = new Set<number>();
  #hooks: PartitionHooks = { onPhase() {}, onOpened() {}, onRemoved() {} };
  readonly #entries: Uint32Array;
  readonly #columns: RunColumns;
  readonly #timestamps: Uint32Array;
  readonly #values: Uint32Array;
  /** Values that histograms led to, until they are scored. */
  readonly #derived: DerivedQueue;
  readonly #native = new HistogramSampleReader();

  constructor(forest: WasmForest, slotsMax: number, detectors?: DetectorSet) {
    this.forest = forest;
    this.slots = new Slots({ slotsMax, entriesMax: slotsMax * KNOWN_PER_SCORED });
    this.#entries = new Uint32Array(forest.batchMax);
    this.#columns = new RunColumns(forest.batchMax);
    this.#derived = new DerivedQueue(3 * forest.batchMax);
    this.histograms = new Histograms({
      announcement: (entry) => this.slots.announcement(entry),
      room: () => this.slots.room,
      open: (fingerprint, announcement) => this.#openDerived(fingerprint, announcement),
      observe: (entry, timestampMs, value) => {
        this.slots.touch(entry, this.streamTimeMs);
        this.#derived.push(entry, timestampMs, value);
      },
      markStale: (entry, timestampMs) => this.#derived.pushStale(entry, timestampMs),
    });
    const { slots, control } = this;
    const endAnomaly = (entry: number) => this.#endAnomaly(entry);
    this.noise = new NoiseControl({ forest, slots, control, endAnomaly });
    this.entities = new Entities(forest, detectors, {
      slots: this.slots,
      open: (fingerprint, announcement) => this.#openDerived(fingerprint, announcement),
      endAnomaly: (entry) => this.#endAnomaly(entry),
      streamTimeMs: () => this.streamTimeMs,
    });
    this.#timestamps = wordsOf(forest.timestampBytes);
    this.#values = wordsOf(forest.valueBytes);
  }

  /** Who hears of changes; nothing that they do changes the state. */
  listen(hooks: PartitionHooks): void {
    this.#hooks = hooks;
  }

  /** Throws an OperatingError `record_unreadable`; then nothing has changed. */
  apply(record: Uint8Array): void {
    const { layout, announcements, control, heritage } = readRecord(record, this.#native);
    for (const announcement of announcements) this.#announce(announcement);
    for (const run of layout.runs) this.#applyRun(layout.bytes, run);
    for (const place of layout.histograms) this.#applyNative(layout.bytes, place);
    this.#scoreDerived();
    for (const copy of control) this.noise.apply(copy);
    for (const word of heritage) this.entities.hear(word);
    if (this.streamTimeMs >= this.nextSweepMs) this.#sweep();
  }

  labels(entry: number): Label[] {
    return fromBinary(SeriesInfoSchema, this.slots.announcement(entry)).label;
  }

  tenant(entry: number): string {
    return fromBinary(SeriesInfoSchema, this.slots.announcement(entry)).tenant;
  }

  /** After a restore: which flags are up follows from the records. */
  findFlagged(): void {
    this.flagged.clear();
    for (let entry = 0; entry < this.slots.entryEnd; entry++) {
      if (!this.slots.isUsed(entry)) continue;
      const slot = this.slots.slotOf(entry);
      if (slot !== NO_SLOT && this.forest.view(slot).flag) this.flagged.add(entry);
    }
  }

  #announce({ announced, bytes }: Announcement): void {
    const { low, high, scoring } = announced;
    const known = this.slots.find(low, high);
    if (known !== NO_ENTRY) {
      this.#announceAgain(known, bytes, announced);
      return;
    }
    const options = { isScored: scoring !== undefined, streamTimeMs: this.streamTimeMs };
    let entry = this.slots.add({ low, high }, bytes, options);
    if (entry === NO_ENTRY) {
      this.#removeIdle(SERIES_IDLE_WHEN_FULL_MS);
      entry = this.slots.add({ low, high }, bytes, options);
    }
    if (entry === NO_ENTRY) return; // full: its samples are counted as refused
    if (scoring !== undefined) this.forest.open(this.slots.slotOf(entry), scoring);
    this.noise.opened(entry);
    this.#hooks.onOpened(entry);
  }

  #announceAgain(entry: number, bytes: Uint8Array, { scoring, type }: Announced): void {
    const old = this.slots.announcement(entry);
    if (Buffer.compare(old, bytes) === 0) {
      this.histograms.announce(entry, type);
      return;
    }
    const before = readAnnouncement(old).scoring;
    const slot = this.slots.slotOf(entry);
    if (slot !== NO_SLOT && scoring !== undefined && scoring !== before) {
      // Its type is known now, and it is not what its name suggested: what was learnt is of another quantity.
      this.#endAnomaly(entry);
      this.forest.open(slot, scoring);
      this.noise.opened(entry);
    }
    this.slots.replaceAnnouncement(entry, bytes);
    this.histograms.announce(entry, type);
  }

  #applyRun(bytes: Uint8Array, run: Run): void {
    for (let done = 0; done < run.count; ) {
      const count = Math.min(run.count - done, this.forest.batchMax);
      this.#columns.take(bytes, run, { from: done, count });
      this.#applyBatch(count);
      done += count;
    }
  }

  /** The columns of the run: look each series up, put the scored ones side by side, score them in one call. */
  #applyBatch(count: number): void {
    const { slots, forest } = this;
    const { fingerprints, timestamps, values } = this.#columns;
    const { noLearn } = this.noise;
    let used = 0;
    let unscored = 0;
    for (let i = 0; i < count; i++) {
      const entry = slots.find(fingerprints[2 * i]!, fingerprints[2 * i + 1]!);
      if (entry === NO_ENTRY) {
        this.counts.refused++;
        continue;
      }
      const low = timestamps[2 * i]!;
      const high = timestamps[2 * i + 1]!;
      const timestampMs = (high | 0) * 4294967296 + low;
      if (timestampMs > this.streamTimeMs) this.streamTimeMs = timestampMs;
      slots.touch(entry, this.streamTimeMs);
      const slot = slots.slotOf(entry);
      if (slot === NO_SLOT) {
        unscored++;
        this.#observeUnscored(entry, timestampMs, i);
        continue;
      }
      if (noLearn.isActive && noLearn.isTurning(slot, timestampMs, this.streamTimeMs)) {
        this.#observe(used);
        used = 0;
        noLearn.turn(slot);
      }
      this.#entries[used] = entry;
      forest.slots[used] = slot;
      this.#timestamps[2 * used] = low;
      this.#timestamps[2 * used + 1] = high;
      this.#values[2 * used] = values[2 * i]!;
      this.#values[2 * used + 1] = values[2 * i + 1]!;
      used++;
    }
    this.counts.unscored += unscored;
    this.#observe(used);
    this.#scoreDerived();
  }

  /** The first `count` rows of the forest's columns, which are logged samples. */
  #observe(count: number): void {
    const { forest } = this;
    const events = forest.observe(count);
    for (let i = 0; i < count; i++) this.counts[OUTCOMES[forest.outcomes[i]!]!]++;
    this.noise.countUnsuited(this.counts, this.#entries, count);
    for (let event = 0; event < events; event++) this.#report(event);
    forest.windows?.finish(count);
    this.entities.gather(this.#entries, count);
  }

  /** Row `i` of the columns, of a series without a record: perhaps a histogram's bucket. */
  #observeUnscored(entry: number, timestampMs: number, i: number): void {
    const columns = this.#columns;
    const value = columns.number(i);
    if (!Number.isNaN(value)) {
      this.histograms.observeBucket(entry, timestampMs, value, columns.startMs(i));
    } else if (columns.isStaleMarker(i)) this.histograms.observeStale(entry, timestampMs);
  }

  #applyNative(bytes: Uint8Array, place: { from: number; to: number }): void {
    const { slots } = this;
    const sample = this.#native;
    sample.read(bytes, place);
    const entry = slots.find(sample.low, sample.high);
    if (entry === NO_ENTRY) {
      this.counts.refused++;
      return;
    }
    if (sample.timestampMs > this.streamTimeMs) this.streamTimeMs = sample.timestampMs;
    slots.touch(entry, this.streamTimeMs);
    // Its type was not known when it was announced; what is scored are its derived series.
    if (slots.slotOf(entry) !== NO_SLOT) this.#releaseSlot(entry);
    const { timestampMs, startMs, histogram } = sample;
    this.counts[this.histograms.observeNative(entry, timestampMs, startMs, histogram)]++;
    if (this.#derived.isFull(3)) this.#scoreDerived();
  }

  #releaseSlot(entry: number): void {
    this.#endAnomaly(entry);
    this.#hooks.onRemoved(entry);
    this.noise.removed(entry);
    this.forest.clear(this.slots.slotOf(entry));
    this.slots.releaseSlot(entry);
  }

  #openDerived(fingerprint: { low: number; high: number }, announcement: Uint8Array): number {
    const known = this.slots.find(fingerprint.low, fingerprint.high);
    if (known !== NO_ENTRY) return known;
    const options = { isScored: true, streamTimeMs: this.streamTimeMs };
    const entry = this.slots.add(fingerprint, announcement, options);
    if (entry === NO_ENTRY) return NO_ENTRY;
    this.forest.open(this.slots.slotOf(entry), 'gauge');
    this.noise.opened(entry);
    this.#hooks.onOpened(entry);
    return entry;
  }

  /** Not counted: what the outcomes count are logged samples, and these are none. */
  #scoreDerived(): void {
    this.#scoreQueue(this.#derived);
    this.#scoreQueue(this.entities.queue);
  }

  #scoreQueue(queue: DerivedQueue): void {
    const { forest, slots } = this;
    const { noLearn } = this.noise;
    for (let done = 0; done < queue.count; ) {
      const most = Math.min(queue.count - done, forest.batchMax);
      let count = 0;
      for (; count < most; count++) {
        const entry = queue.entries[done + count]!;
        const slot = slots.slotOf(entry);
        const atMs = queue.timestampMs(done + count);
        if (noLearn.isActive && noLearn.isTurning(slot, atMs, this.streamTimeMs)) {
          if (count > 0) break;
          noLearn.turn(slot);
        }
        this.#entries[count] = entry;
        forest.slots[count] = slot;
      }
      const [from, to] = [2 * done, 2 * (done + count)];
      this.#timestamps.set(queue.timestamps.subarray(from, to));
      this.#values.set(queue.values.subarray(from, to));
      const events = forest.observe(count);
      for (let event = 0; event < events; event++) this.#report(event);
      forest.windows?.finish(count);
      this.entities.gather(this.#entries, count);
      done += count;
    }
    queue.clear();
  }

  #report(event: number): void {
    const { forest } = this;
    const at = forest.eventIndexes[event]!;
    const entry = this.#entries[at]!;
    const phase = PHASES[forest.eventPhases[event]!]!;
    assert(phase !== 'none');
    forest.windows?.observeTo(at + 1);
    if (phase === 'onset') this.flagged.add(entry);
    if (phase === 'end') this.flagged.delete(entry);
    this.#hooks.onPhase({
      entry,
      phase,
      cause: CAUSES[forest.eventCauses[event]!]!,
      timestampMs: Number(forest.eventTimestamps[event]!),
      onsetMs: Number(forest.eventOnsets[event]!),
      value: forest.values[at]!,
      score: forest.scores[at]!,
      expected: forest.expected[at]!,
      lower: forest.lower[at]!,
      upper: forest.upper[at]!,
    });
  }

  /** Looks for series that fell silent, at most once a minute of stream time. */
  #sweep(): void {
    const isFirst = this.nextSweepMs === Number.NEGATIVE_INFINITY;
    const lastMs = this.nextSweepMs - SWEEP_MS;
    // After a great jump (history, then live samples) every series has been silent: each has an hour to be heard of.
    const isHour =
      Math.floor(lastMs / IDLE_SWEEP_MS) !== Math.floor(this.streamTimeMs / IDLE_SWEEP_MS) &&
      this.streamTimeMs - lastMs <= SERIES_IDLE_MS / 2;
    this.nextSweepMs = (Math.floor(this.streamTimeMs / SWEEP_MS) + 1) * SWEEP_MS;
    if (isFirst) return;
    for (const entry of [...this.flagged].sort((a, b) => a - b)) {
      if (this.streamTimeMs - this.slots.seenAt(entry) > SILENCE_MS) this.#endAnomaly(entry);
    }
    this.noise.sweep(this.streamTimeMs, isHour);
    if (isHour) this.#removeIdle(SERIES_IDLE_MS);
  }

  #endAnomaly(entry: number): void {
    const slot = this.slots.slotOf(entry);
    if (slot === NO_SLOT) return;
    const view = this.forest.view(slot);
    if (!this.forest.endAnomaly(slot)) return;
    this.flagged.delete(entry);
    this.#hooks.onPhase({
      entry,
      phase: 'end',
      cause: view.cause,
      timestampMs: view.lastTimestampMs,
      onsetMs: view.onsetMs,
      value: view.lastValue,
      score: view.score,
      expected: view.expected,
      lower: view.lower,
      upper: view.upper,
    });
  }

  #removeIdle(idleMs: number): void {
    const idle: number[] = [];
    for (let entry = 0; entry < this.slots.entryEnd; entry++) {
      if (!this.slots.isUsed(entry)) continue;
      if (this.streamTimeMs - this.slots.seenAt(entry) > idleMs) idle.push(entry);
    }
    for (const entry of idle) {
      this.#endAnomaly(entry);
      this.#hooks.onRemoved(entry);
      this.histograms.remove(entry);
      this.noise.removed(entry);
      this.entities.remove(entry);
      const slot = this.slots.slotOf(entry);
      if (slot !== NO_SLOT) this.forest.clear(slot);
    }
    this.slots.remove(idle);
  }
}
