// What a partition's state knows of control: how far it has come, and which records are in force here. Copies of control
// records reach it through the samples log only (docs/decisions/0010-control-in-replay.md), so the order of everything
// that changes the state is the order of that log. This file keeps and folds what was said; noise-control.ts does what
// follows from it. Kept are feedback on series that this partition knew when it was said, accepted shifts, and windows
// in which nothing is learnt; everything else (mutes, what was missed) is the api's alone.

import { strict as assert } from 'node:assert';
import { fromBinary } from '@bufbuild/protobuf';
import { Cause } from '../gen/candidate_pb.js';
import {
  type Control,
  ControlSchema,
  type Feedback,
  FeedbackKind,
  type Maintenance,
} from '../gen/control_pb.js';
import type { ControlCopy } from '../gen/sample_block_pb.js';
import {
  CONTROL_KEPT_BYTES_MAX,
  CONTROL_KEPT_MAX,
  FALSE_ALARM_RATIO,
  SERIES_IDLE_MS,
} from '../limits.js';
import { anyOf, BadMatcher } from '../matchers.js';
import type { Label } from '../series.js';
import type { StateReader, StateWriter } from './state-bytes.js';
import type { Dismissal } from './wasm-forest.js';

/** A record in force. */
export interface Word<What> {
  id: string;
  tenant: string;
  what: What;
  /** By its selectors; a word on one series alone matches nothing. */
  matches: (labels: readonly Label[]) => boolean;
  /** As it was said. */
  bytes: Uint8Array;
}

export interface NamedSeries {
  fingerprint: bigint;
  tenant: string;
  labels: readonly Label[];
}

/** What a record asks for. */
export type Change =
  | { kind: 'none' }
  | { kind: 'feedback'; word: Word<Feedback> }
  | { kind: 'shift'; word: Word<Feedback> }
  | { kind: 'unshift'; word: Word<Feedback> }
  | { kind: 'windows' };

const NOTHING: Change = { kind: 'none' };

export class ControlState {
  /** Offset in the control log after the newest record applied; part of the checkpoint and of the state hash. */
  next = 0;
  /**
   * Records that changed something here, those of which nothing follows here, those that cannot be read, those that were
   * refused because too many are in force, copies that had come before, and records that were never copied (too large,
   * or deleted before that); since this state was loaded.
   */
  readonly counts = { applied: 0, elsewhere: 0, unknown: 0, refused: 0, repeated: 0, missed: 0 };
  readonly windows = new Map<string, Word<Maintenance>>();
  /** False alarms, confirmations and accepted shifts, in the order in which they were said. */
  readonly #feedback = new Map<string, Word<Feedback>>();
  #keptBytes = 0;

  /** `isKnown`: does this partition know the series of a word on one series? */
  apply(copy: ControlCopy, isKnown: (fingerprint: bigint, tenant: string) => boolean): Change {
    const at = Number(copy.offset);
    if (at < this.next) {
      this.counts.repeated++;
      return NOTHING;
    }
    this.counts.missed += at - this.next;
    this.next = at + 1;
    const record = readControl(copy.record);
    if (record === undefined) {
      this.counts.unknown++;
      return NOTHING;
    }
    const change =
      record.what.case === 'undo'
        ? this.#takeBack(record.what.value.id, record.tenant)
        : // A copy, which `slice` of a Buffer is not: what was read is a part of a batch that is let go.
          this.#keep(record, new Uint8Array(copy.record), isKnown);
    if (change === undefined) this.counts.refused++;
    else if (change.kind === 'none') this.counts.elsewhere++;
    else this.counts.applied++;
    return change ?? NOTHING;
  }

  get isEmpty(): boolean {
    return this.#feedback.size === 0 && this.windows.size === 0;
  }

  /** Up to where deviations of a series are false alarms; undefined when nothing was ever said of it. */
  dismissalOf(series: NamedSeries): Dismissal | undefined {
    let found: Dismissal | undefined;
    for (const word of this.#feedback.values()) {
      if (word.what.kind === FeedbackKind.ACCEPT_SHIFT || !holdsFor(word, series)) continue;
      found ??= { above: 0, below: 0, bandsAbove: 0, bandsBelow: 0, isQuietFalse: false };
      fold(found, word.what);
    }
    return found;
  }

  /** Words that say nothing any more at this stream time, which are forgotten. */
  expire(streamTimeMs: number): { feedback: Word<Feedback>[]; windows: number } {
    const feedback = [...this.#feedback.values()].filter(
      ({ what }) => what.expiresMs !== undefined && Number(what.expiresMs) <= streamTimeMs,
    );
    // A series may lag behind the others for as long as one is remembered.
    const over = [...this.windows.values()].filter(
      ({ what }) => what.endMs !== undefined && Number(what.endMs) + SERIES_IDLE_MS <= streamTimeMs,
    );
    for (const { id } of feedback) this.#forget(this.#feedback, id);
    for (const { id } of over) this.#forget(this.windows, id);
    return { feedback, windows: over.length };
  }

  encode(to: StateWriter): void {
    const words = [...this.#feedback.values(), ...this.windows.values()];
    to.u32(words.length);
    for (const { bytes } of words) {
      to.u32(bytes.length);
      to.bytes(bytes);
    }
  }

  restore(from: StateReader): void {
    for (let left = from.u32(); left > 0; left--) {
      const bytes = from.bytes(from.u32());
      const record = readControl(bytes);
      assert(record !== undefined, 'What was kept can be read');
      this.#keep(record, bytes, () => true);
    }
  }

  #keep(
    record: Control,
    bytes: Uint8Array,
    isKnown: (fingerprint: bigint, tenant: string) => boolean,
  ): Change | undefined {
    const { id, tenant, what } = record;
    if (this.#feedback.has(id) || this.windows.has(id)) return NOTHING;
    if (what.case === 'feedback') {
      const { kind, anomaly, match } = what.value;
      const isShift = kind === FeedbackKind.ACCEPT_SHIFT;
      const isJudged = kind === FeedbackKind.FALSE_ALARM || kind === FeedbackKind.CONFIRMED;
      if (!isShift && !isJudged) return NOTHING;
      if (match.length === 0 && !(anomaly && isKnown(anomaly.fingerprint, tenant))) return NOTHING;
      const word = { id, tenant, what: what.value, matches: matchesOf(match), bytes };
      if (!this.#add(this.#feedback, word)) return undefined;
      return { kind: isShift ? 'shift' : 'feedback', word };
    }
    if (what.case !== 'maintenance' || !what.value.noLearn) return NOTHING;
    const word = { id, tenant, what: what.value, matches: matchesOf(what.value.match), bytes };
    return this.#add(this.windows, word) ? { kind: 'windows' } : undefined;
  }

  #takeBack(id: string, tenant: string): Change {
    const word = this.#feedback.get(id);
    if (word?.tenant === tenant) {
      this.#forget(this.#feedback, id);
      const isShift = word.what.kind === FeedbackKind.ACCEPT_SHIFT;
      return { kind: isShift ? 'unshift' : 'feedback', word };
    }
    if (this.windows.get(id)?.tenant !== tenant) return NOTHING;
    this.#forget(this.windows, id);
    return { kind: 'windows' };
  }

  #add<What>(to: Map<string, Word<What>>, word: Word<What>): boolean {
    const count = this.#feedback.size + this.windows.size;
    const bytes = this.#keptBytes + word.bytes.length;
    if (count >= CONTROL_KEPT_MAX || bytes > CONTROL_KEPT_BYTES_MAX) return false;
    to.set(word.id, word);
    this.#keptBytes = bytes;
    return true;
  }

  #forget(from: Map<string, Word<unknown>>, id: string): void {
    this.#keptBytes -= from.get(id)?.bytes.length ?? 0;
    from.delete(id);
  }
}

/** Is the word on this series? */
export function holdsFor({ tenant, what, matches }: Word<Feedback>, series: NamedSeries): boolean {
  if (tenant !== series.tenant) return false;
  if (what.match.length > 0) return matches(series.labels);
  return what.anomaly?.fingerprint === series.fingerprint;
}

/**
 * Takes the next word in. A word on one series is in its own unit, which stays the same when its band does not; a word on
 * several in halves of their bands. The latest one holds: what is confirmed bounds what was false before.
 */
function fold(to: Dismissal, { kind, anomaly, match }: Feedback): void {
  const isFalse = kind === FeedbackKind.FALSE_ALARM;
  if (anomaly === undefined) {
    const all = isFalse ? Number.POSITIVE_INFINITY : 0;
    Object.assign(to, { above: all, below: all, bandsAbove: 0, bandsBelow: 0 });
    to.isQuietFalse = isFalse;
    return;
  }
  if (anomaly.cause === Cause.QUIET) {
    to.isQuietFalse = isFalse;
    return;
  }
  const isOwn = match.length === 0;
  const told = isOwn ? anomaly.deviation : anomaly.bands;
  const size = Math.abs(told);
  const side = told < 0 ? 'Below' : 'Above';
  const own = told < 0 ? 'below' : 'above';
  const bands = `bands${side}` as const;
  const [field, other] = isOwn ? ([own, bands] as const) : ([bands, own] as const);
  if (isFalse) to[field] = Math.max(to[field], FALSE_ALARM_RATIO * size);
  else {
    to[field] = Math.min(to[field], size / FALSE_ALARM_RATIO);
    to[other] = 0;
  }
}

function readControl(bytes: Uint8Array): Control | undefined {
  try {
    const record = fromBinary(ControlSchema, bytes);
    return record.id === '' || record.what.case === undefined ? undefined : record;
  } catch {
    // A RangeError or TypeError of the decoder: bytes that are no message, or of a later version.
    return undefined;
  }
}

function matchesOf(selectors: readonly string[]): (labels: readonly Label[]) => boolean {
  if (selectors.length === 0) return () => false;
  try {
    return anyOf(selectors);
  } catch (error) {
    // Judged when it was said, perhaps by another version: what cannot be read matches nothing.
    if (!(error instanceof BadMatcher)) throw error;
    return () => false;
  }
}
