// What is shown and what is learnt of the series of one partition, beyond their samples: the noise rules of the settings,
// what people said (control-state.ts), windows in which nothing is learnt, and series that are not suited. It is asked
// when a series begins or ends, when a control record or a minute of stream time has come, and, only while there are
// windows, per sample. Rules and marks change what is shown and nothing else; what people said is part of the state.

import { fromBinary } from '@bufbuild/protobuf';
import type { Feedback } from '../gen/control_pb.js';
import { type ControlCopy, SeriesInfoSchema } from '../gen/sample_block_pb.js';
import {
  NOISE_RULES_MAX,
  NOISE_SERIES_PER_TURN,
  SHIFTS_KEPT_MAX,
  SILENCE_MS,
  UNSUITED_MAX,
} from '../limits.js';
import { type ControlState, holdsFor, type NamedSeries, type Word } from './control-state.js';
import { NoLearn } from './no-learn.js';
import { type NoiseRule, NoiseRules, PASSES_ALL } from './noise-rules.js';
import { NO_ENTRY, NO_SLOT, type Slots } from './slots.js';
import { StateReader, StateWriter } from './state-bytes.js';
import {
  OUTCOMES,
  SHOWN_BYTES,
  SUITABILITIES,
  type Suitability,
  type WasmForest,
} from './wasm-forest.js';

export interface NoiseSite {
  forest: WasmForest;
  slots: Slots;
  control: ControlState;
  /** Of an open anomaly that is not to be shown any more. */
  endAnomaly(entry: number): void;
}

/** In the forest's table of rules; two lists of rules follow it, the one in force and the one before it. */
const PASSES_ALL_INDEX = 1;
const LISTS = 2;
const APPLIED = OUTCOMES.indexOf('applied');
/** Of these nothing is shown. */
const isHidden = (why: Suitability): boolean => why === 'clock' || why === 'only-grows';

export class NoiseControl {
  readonly noLearn: NoLearn;
  /** Series of which nothing is shown because they are not suited, by entry; and how many have never moved. */
  readonly unsuited = new Map<number, Suitability>();
  constants = 0;
  readonly #site: NoiseSite;
  /** By the id of the word that accepted it: entry and how far its level was moved. */
  readonly #shifts = new Map<string, Map<number, number>>();
  #shiftCount = 0;
  #rules = new NoiseRules([]);
  /** Which of them is in force. */
  #list = 0;
  #reassigning: Promise<void> = Promise.resolve();

  constructor(site: NoiseSite) {
    this.#site = site;
    this.noLearn = new NoLearn(site.forest);
    site.forest.writeRule(PASSES_ALL_INDEX, PASSES_ALL);
  }

  /** An entry with a slot has begun, or its slot has begun anew as another kind. */
  opened(entry: number): void {
    const slot = this.#site.slots.slotOf(entry);
    if (slot === NO_SLOT) return;
    this.#forgetLearnt(entry, slot);
    if (this.#rules.rules.length === 0 && this.#site.control.isEmpty) return;
    this.#judge(entry, this.#seriesOf(entry));
  }

  /** Before the slot is cleared. */
  removed(entry: number): void {
    const slot = this.#site.slots.slotOf(entry);
    if (slot === NO_SLOT) return;
    this.#forgetLearnt(entry, slot);
    this.unsuited.delete(entry);
  }

  /** All series follow these rules when it returns. */
  begin(rules: readonly NoiseRule[]): void {
    this.#writeRules(rules);
    if (rules.length > 0)
      for (const entry of this.#scored()) this.#judge(entry, this.#seriesOf(entry));
  }

  /** The series follow these rules one after the other, and the event loop turns in between; the last call wins. */
  change(rules: readonly NoiseRule[]): Promise<void> {
    this.#reassigning = this.#reassigning.then(async () => {
      this.#writeRules(rules);
      let left = NOISE_SERIES_PER_TURN;
      for (const entry of this.#scored()) {
        this.#judge(entry, this.#seriesOf(entry));
        if (--left > 0) continue;
        left = NOISE_SERIES_PER_TURN;
        await new Promise((turn) => setImmediate(turn));
      }
    });
    return this.#reassigning;
  }

  apply(copy: ControlCopy): void {
    const change = this.#site.control.apply(copy, (fingerprint, tenant) => {
      const entry = this.#find(fingerprint);
      return entry !== NO_ENTRY && this.#seriesOf(entry).tenant === tenant;
    });
    if (change.kind === 'windows') this.#assignWindows();
    else if (change.kind === 'feedback') this.#judgeAgain(change.word);
    else if (change.kind === 'shift') this.#acceptShift(change.word);
    else if (change.kind === 'unshift') this.#undoShift(change.word.id);
  }

  /** Once a minute of stream time; `isHour`: all series are looked at. */
  sweep(streamTimeMs: number, isHour: boolean): void {
    const { feedback, windows } = this.#site.control.expire(streamTimeMs);
    for (const word of feedback) {
      this.#forgetShifts(word.id);
      this.#judgeAgain(word);
    }
    if (windows > 0) this.#assignWindows();
    this.noLearn.sweep(streamTimeMs);
    if (this.#site.forest.hasRules) this.#endSilent(streamTimeMs);
    if (isHour) this.#lookAtAll();
    else for (const [entry, why] of this.unsuited) this.#lookAt(entry, why);
  }

  /**
   * Of the first `count` rows of the forest's columns, which belong to these entries, those that were applied to unsuited
   * series count as unscored: such series are watched, not scored. Which they are follows from the log alone, so these
   * counts do as well.
   */
  countUnsuited(
    counts: { applied: number; unscored: number },
    entries: Uint32Array,
    count: number,
  ): void {
    if (this.unsuited.size === 0) return;
    const { outcomes } = this.#site.forest;
    let found = 0;
    for (let i = 0; i < count; i++) {
      if (outcomes[i] === APPLIED && this.unsuited.has(entries[i]!)) found++;
    }
    counts.applied -= found;
    counts.unscored += found;
  }

  /** Part of the state hash; empty when there is nothing. */
  encode(): Uint8Array {
    if (this.#site.control.isEmpty && this.noLearn.count === 0) return new Uint8Array();
    const to = new StateWriter();
    this.noLearn.encode(to);
    this.#site.control.encode(to);
    to.u32(this.#shifts.size);
    for (const [id, shifts] of this.#shifts) {
      const name = Buffer.from(id);
      to.u32(name.length);
      to.bytes(name);
      to.u32(shifts.size);
      for (const [entry, shift] of shifts) {
        to.u32(entry);
        to.f64(shift);
      }
    }
    return to.written();
  }

  /** Entries of unsuited series, each with why: only what is shown depends on them. */
  unsuitedPairs(): number[] {
    const rows = [...this.unsuited].sort(([a], [b]) => a - b);
    return rows.flatMap(([entry, why]) => [entry, SUITABILITIES.indexOf(why)]);
  }

  /** What is shown where that is not what the records know; follows from rules too, so it is no part of the state hash. */
  encodeShown(): Uint8Array {
    const { forest, slots } = this.#site;
    const to = new StateWriter(0);
    for (let slot = 0; slot < slots.slotEnd; slot++) {
      if (!forest.differs(slot)) continue;
      to.u32(slot);
      to.bytes(forest.shown(slot));
    }
    return to.written();
  }

  /** After the slots and records have been restored. */
  restore(state: Uint8Array, shown: Uint8Array, unsuited: readonly number[]): void {
    const { forest } = this.#site;
    const shownFrom = new StateReader(shown);
    while (!shownFrom.isAtEnd) {
      const slot = shownFrom.u32();
      forest.assignRule(slot, PASSES_ALL_INDEX);
      forest.shown(slot).set(shownFrom.bytes(SHOWN_BYTES));
    }
    for (let at = 0; at < unsuited.length; at += 2) {
      this.#mark(unsuited[at]!, SUITABILITIES[unsuited[at + 1]!]!);
    }
    this.#countConstants();
    if (state.length === 0) return;
    const from = new StateReader(state);
    this.noLearn.restore(from, forest.recordBytes);
    this.#site.control.restore(from);
    for (let left = from.u32(); left > 0; left--) {
      const id = Buffer.from(from.bytes(from.u32())).toString();
      const shifts = new Map<number, number>();
      for (let more = from.u32(); more > 0; more--) shifts.set(from.u32(), from.f64());
      this.#shifts.set(id, shifts);
      this.#shiftCount += shifts.size;
    }
    from.end();
    if (this.#site.control.isEmpty) return;
    if (this.#site.control.windows.size > 0) this.noLearn.begin(this.#site.slots.limits.slotsMax);
    for (const entry of this.#scored()) this.#judge(entry, this.#seriesOf(entry));
  }

  #writeRules(rules: readonly NoiseRule[]): void {
    this.#rules = new NoiseRules(rules);
    this.#list = (this.#list + 1) % LISTS;
    for (const [place, rule] of rules.entries()) {
      this.#site.forest.writeRule(this.#indexOf(place), rule);
    }
  }

  #indexOf(place: number): number {
    return PASSES_ALL_INDEX + 1 + this.#list * NOISE_RULES_MAX + place;
  }

  /** Rule, false alarms and windows of a series that has a slot. */
  #judge(entry: number, series: NamedSeries): void {
    const { forest, slots } = this.#site;
    const slot = slots.slotOf(entry);
    const place = this.#rules.placeOf(series.labels);
    const dismissal = this.#site.control.dismissalOf(series);
    if (place >= 0) forest.assignRule(slot, this.#indexOf(place));
    else if (dismissal !== undefined || forest.ruleOf(slot) !== 0) {
      forest.assignRule(slot, PASSES_ALL_INDEX);
    }
    if (forest.ruleOf(slot) !== 0) forest.dismiss(slot, dismissal ?? NOTHING_DISMISSED);
    const { windows } = this.#site.control;
    if (windows.size > 0) this.noLearn.assign(slot, series, windows.values());
  }

  #judgeAgain(word: Word<Feedback>): void {
    for (const { entry, series } of this.#seriesOfWord(word)) this.#judge(entry, series);
  }

  #assignWindows(): void {
    const { slots } = this.#site;
    const { windows } = this.#site.control;
    this.noLearn.begin(slots.limits.slotsMax);
    if (windows.size === 0) return;
    for (const entry of this.#scored()) {
      this.noLearn.assign(slots.slotOf(entry), this.#seriesOf(entry), windows.values());
    }
  }

  /** Of a series alone always; said of several, where a level has truly moved. */
  #acceptShift(word: Word<Feedback>): void {
    const { forest, slots, endAnomaly } = this.#site;
    const shifts = new Map<number, number>();
    for (const { entry } of this.#seriesOfWord(word)) {
      const slot = slots.slotOf(entry);
      const shift = forest.shift(slot);
      const { lower, upper } = forest.view(slot);
      const isFar = Math.abs(shift) > (upper - lower) / 2;
      if (shift === 0 || (word.what.match.length > 0 && !isFar)) continue;
      endAnomaly(entry);
      this.noLearn.forget(slot);
      forest.acceptShift(slot, shift);
      if (this.#shiftCount >= SHIFTS_KEPT_MAX) continue;
      shifts.set(entry, shift);
      this.#shiftCount++;
    }
    this.#shifts.set(word.id, shifts);
  }

  #undoShift(id: string): void {
    const { forest, slots, endAnomaly } = this.#site;
    for (const [entry, shift] of this.#shifts.get(id) ?? []) {
      endAnomaly(entry);
      this.noLearn.forget(slots.slotOf(entry));
      forest.undoShift(slots.slotOf(entry), shift);
    }
    this.#forgetShifts(id);
  }

  #forgetShifts(id: string): void {
    this.#shiftCount -= this.#shifts.get(id)?.size ?? 0;
    this.#shifts.delete(id);
  }

  #forgetLearnt(entry: number, slot: number): void {
    this.noLearn.forget(slot);
    for (const shifts of this.#shifts.values()) if (shifts.delete(entry)) this.#shiftCount--;
  }

  /** An anomaly that is not shown ends as any other when its series falls silent. */
  #endSilent(streamTimeMs: number): void {
    const { forest, slots } = this.#site;
    for (const entry of this.#scored()) {
      if (streamTimeMs - slots.seenAt(entry) <= SILENCE_MS) continue;
      const slot = slots.slotOf(entry);
      if (forest.differs(slot)) forest.endAnomaly(slot);
    }
  }

  #lookAtAll(): void {
    const { forest, slots } = this.#site;
    this.constants = 0;
    for (const entry of this.#scored()) {
      const why = forest.suitability(slots.slotOf(entry));
      if (why === 'never-moved') this.constants++;
      if (isHidden(why) || this.unsuited.has(entry)) this.#lookAt(entry, this.unsuited.get(entry));
    }
  }

  #lookAt(entry: number, before: Suitability | undefined): void {
    const { forest, slots } = this.#site;
    const why = forest.suitability(slots.slotOf(entry));
    if (why === before || (before === undefined && !isHidden(why))) return;
    if (before === undefined && this.unsuited.size >= UNSUITED_MAX) return;
    // What is open closes as nothing more is beyond; the record goes on as it would have.
    this.#mark(entry, isHidden(why) ? why : 'suited');
  }

  #mark(entry: number, why: Suitability): void {
    const { forest, slots } = this.#site;
    const slot = slots.slotOf(entry);
    if (forest.ruleOf(slot) === 0) forest.assignRule(slot, PASSES_ALL_INDEX);
    forest.markUnsuited(slot, why);
    if (why === 'suited') this.unsuited.delete(entry);
    else this.unsuited.set(entry, why);
  }

  #countConstants(): void {
    const { forest, slots } = this.#site;
    this.constants = 0;
    for (const entry of this.#scored()) {
      if (forest.suitability(slots.slotOf(entry)) === 'never-moved') this.constants++;
    }
  }

  *#seriesOfWord(word: Word<Feedback>): Generator<{ entry: number; series: NamedSeries }> {
    const { match, anomaly } = word.what;
    const alone = anomaly === undefined ? NO_ENTRY : this.#find(anomaly.fingerprint);
    const entries = match.length > 0 ? this.#scored() : alone === NO_ENTRY ? [] : [alone];
    for (const entry of entries) {
      if (this.#site.slots.slotOf(entry) === NO_SLOT) continue;
      const series = this.#seriesOf(entry);
      if (holdsFor(word, series)) yield { entry, series };
    }
  }

  *#scored(): Generator<number> {
    const { slots } = this.#site;
    for (let entry = 0; entry < slots.entryEnd; entry++) {
      if (slots.isUsed(entry) && slots.slotOf(entry) !== NO_SLOT) yield entry;
    }
  }

  #find(fingerprint: bigint): number {
    const { slots } = this.#site;
    return slots.find(Number(fingerprint & 0xffffffffn), Number(fingerprint >> 32n));
  }

  #seriesOf(entry: number): NamedSeries {
    const { slots } = this.#site;
    const { label, tenant } = fromBinary(SeriesInfoSchema, slots.announcement(entry));
    const fingerprint = (BigInt(slots.highOf(entry)) << 32n) | BigInt(slots.lowOf(entry));
    return { fingerprint, tenant, labels: label };
  }
}

const NOTHING_DISMISSED = {
  ...{ above: 0, below: 0, bandsAbove: 0, bandsBelow: 0 },
  isQuietFalse: false,
};
