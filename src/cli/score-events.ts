// The anomalies of one series, put together from the forest's events: where each began, peaked and ended, and why. A
// series may have any number of them; the highest are kept, and all are counted.

import { LISTED_ANOMALIES_MAX } from '../limits.js';
import { CAUSES, PHASES, type WasmForest } from '../scorer/wasm-forest.js';
import type { OnsetVerdict } from './score-verdicts.js';

const ONSET = PHASES.indexOf('onset');
const END = PHASES.indexOf('end');

export interface ScoredAnomaly {
  onsetMs: number;
  peakMs: number;
  /** The last anomalous sample; NaN while the anomaly is open at the end of the file. */
  endMs: number;
  peakValue: number;
  peakScore: number;
  cause: string;
  /** What the deep check said of its onset; absent where nothing was asked. */
  verdict?: OnsetVerdict['verdict'];
  /** Why it abstained or could not check; else empty. */
  verdictReason?: string;
}

export class AnomalyList {
  count = 0;
  suppressedCount = 0;
  readonly #kept: ScoredAnomaly[] = [];
  #open: ScoredAnomaly | undefined;

  /** Takes in the events of the forest's last `observe`. */
  add(forest: WasmForest, eventCount: number, verdicts?: ReadonlyMap<number, OnsetVerdict>): void {
    for (let at = 0; at < eventCount; at++) {
      const index = forest.eventIndexes[at]!;
      const ms = Number(forest.eventTimestamps[at]!);
      if (forest.eventPhases[at] === END) {
        if (this.#open !== undefined) this.#open.endMs = ms;
        this.#open = undefined;
        continue;
      }
      const peak = {
        peakMs: ms,
        peakValue: forest.values[index]!,
        peakScore: forest.scores[index]!,
        cause: CAUSES[forest.eventCauses[at]!]!,
      };
      if (forest.eventPhases[at] === ONSET || this.#open === undefined) {
        const onsetMs = Number(forest.eventOnsets[at]!);
        this.#open = { onsetMs, endMs: Number.NaN, ...peak, ...said(verdicts?.get(at)) };
        this.count++;
        if (this.#open.verdict === 'suppressed') this.suppressedCount++;
        this.#kept.push(this.#open);
        if (this.#kept.length > LISTED_ANOMALIES_MAX) this.#dropLowest();
      } else if (peak.peakScore > this.#open.peakScore) Object.assign(this.#open, peak);
    }
  }

  /** In the order of their onsets. */
  list(): ScoredAnomaly[] {
    return this.#kept;
  }

  /** The newest stays, as it may still rise. */
  #dropLowest(): void {
    let lowest = 0;
    for (let at = 1; at < this.#kept.length - 1; at++) {
      if (this.#kept[at]!.peakScore < this.#kept[lowest]!.peakScore) lowest = at;
    }
    this.#kept.splice(lowest, 1);
  }
}

function said(verdict: OnsetVerdict | undefined): Pick<ScoredAnomaly, 'verdict' | 'verdictReason'> {
  if (verdict === undefined) return {};
  return { verdict: verdict.verdict, verdictReason: verdict.reason };
}
