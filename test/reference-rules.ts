// What is shown of a series under a rule, in plain TypeScript: the readable explanation of
// assembly/forest/rules.ts and its judge. It stands behind the reference forest, takes its rows and
// the record as it is behind each of them, and says flag, alarm and event anew; nothing of it goes
// back into the record.

import type { Dismissal, ShownRule } from '../src/scorer/wasm-forest.js';
import type { ReferenceSeries, Row } from './reference-forest.js';

const f = Math.fround;
const CAUSES = ['none', 'novelty', 'magnitude', 'quiet'];
const QUIET = 3;

export class ReferenceShown {
  readonly #rule: ShownRule;
  readonly #dismissal: Dismissal;
  #isOpen = false;
  #onset = 0n;
  #last = 0n;
  #peak = 0;
  #cause = 0;
  #calm = 0;
  /** Of the last samples, newest last: were they beyond the rule? */
  #history: boolean[] = [];

  constructor(rule: ShownRule, dismissal: Dismissal) {
    this.#rule = rule;
    this.#dismissal = dismissal;
  }

  /** `row` as the series without a rule has it; `series` behind that sample. */
  show(row: Row, series: ReferenceSeries, timestamp: bigint): Row {
    const { event: _, ...rest } = row;
    const shown: Row = { ...rest, alarm: 0, flag: Number(this.#isOpen) };
    if (row.outcome !== 'applied') return shown;
    const begins = series.isStale || series.hasBegunAnew;
    if (begins) {
      if (this.#isOpen) shown.event = this.#end();
      this.#history = [];
      shown.flag = 0;
    }
    if (Number.isNaN(row.score)) return shown;
    const isBeyond = this.#isBeyond(row, series);
    const event = isBeyond ? this.#rise(row.score, series, timestamp) : this.#pass(timestamp);
    if (event !== undefined) shown.event = event;
    shown.flag = Number(this.#isOpen);
    const isRaised = row.alarm > 0 && isBeyond && this.#isOpen;
    if (event?.phase === 'onset' || isRaised) shown.alarm = row.score;
    return shown;
  }

  #isBeyond({ score, value, expected, lower, upper }: Row, series: ReferenceSeries): boolean {
    const { side, minDeviation, minRelativeDeviation, threshold, isIgnored } = this.#rule;
    const { isQuietFalse, above, below, bandsAbove, bandsBelow } = this.#dismissal;
    if (!(score > f(threshold)) || isIgnored) return false;
    if (series.lastCause === QUIET) return !isQuietFalse;
    const { fast, slow } = series.drift;
    const deviation = series.isPlain ? fast - slow : value - expected;
    const size = Math.abs(deviation);
    const isOnSide =
      side === 'both' || (deviation > 0 && side === 'above') || (deviation < 0 && side === 'below');
    if (!isOnSide || size < minDeviation) return false;
    if (size < minRelativeDeviation * Math.abs(expected)) return false;
    const [own, bands] = deviation < 0 ? [below, bandsBelow] : [above, bandsAbove];
    if (own > 0 && size <= own) return false;
    // The band as the record has it; its edges are rounded.
    const half = series.halfWidth;
    if (f(bands) > 0 && (half > 0 ? size <= f(bands) * half : f(bands) >= 1)) return false;
    return lower <= upper;
  }

  #rise(score: number, series: ReferenceSeries, timestamp: bigint): Row['event'] {
    const { needed, among } = this.#rule;
    const isNew = !this.#isOpen;
    if (isNew) {
      this.#history = [...this.#history, true].slice(-among);
      const count = this.#history.filter((isBeyond) => isBeyond).length;
      if (count < needed && !series.isPlain) return undefined;
      this.#history = [];
    }
    this.#calm = 0;
    this.#last = timestamp;
    if (!isNew && score < f(f(1.1) * this.#peak)) return undefined;
    if (isNew) this.#onset = timestamp;
    this.#isOpen = true;
    this.#peak = score;
    this.#cause = series.lastCause;
    return this.#event(isNew ? 'onset' : 'peak', timestamp);
  }

  #pass(timestamp: bigint): Row['event'] {
    if (!this.#isOpen) {
      this.#history = [...this.#history, false].slice(-this.#rule.among);
      return undefined;
    }
    this.#calm = Math.min(5, this.#calm + 1);
    const calmMs = Number(timestamp) - Number(this.#last);
    return this.#calm >= 5 && calmMs >= 60_000 ? this.#end() : undefined;
  }

  #event(phase: string, timestamp: bigint): NonNullable<Row['event']> {
    return { phase, cause: CAUSES[this.#cause]!, onset: this.#onset, timestamp };
  }

  #end(): NonNullable<Row['event']> {
    const event = this.#event('end', this.#last);
    this.#isOpen = false;
    this.#calm = 0;
    return event;
  }
}
