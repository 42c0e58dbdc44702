// The rules that say which anomalies are shown, and which of them holds for a series: the first of which a selector
// matches. Asked once per series, when it is announced or when the rules change, never per sample.

import { strict as assert } from 'node:assert';
import { NOISE_RULES_MAX } from '../limits.js';
import { type Matcher, parseSelector } from '../matchers.js';
import type { Label } from '../series.js';
import type { ShownRule } from './wasm-forest.js';

export interface NoiseRule extends ShownRule {
  match: readonly string[];
}

/** What holds for a series that once had a rule and has none now. */
export const PASSES_ALL: ShownRule = {
  side: 'both',
  minDeviation: 0,
  minRelativeDeviation: 0,
  needed: 1,
  among: 1,
  threshold: 1,
  isIgnored: false,
};

export class NoiseRules {
  readonly rules: readonly NoiseRule[];
  readonly #selectors: Matcher[][];

  /** Throws BadMatcher. */
  constructor(rules: readonly NoiseRule[]) {
    assert(rules.length <= NOISE_RULES_MAX);
    assert(rules.every(({ match }) => match.length > 0));
    this.rules = rules;
    this.#selectors = rules.map(({ match }) => match.map(parseSelector));
  }

  /** Place of the first that holds, or -1. */
  placeOf(labels: readonly Label[]): number {
    if (this.rules.length === 0) return -1;
    const byName = new Map(labels.map(({ name, value }) => [name, value]));
    return this.#selectors.findIndex((any) => any.some((matches) => matches(byName)));
  }
}
