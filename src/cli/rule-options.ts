// `--direction`, `--min-deviation` and `--of`: one noise rule for all series of a call, as `detection.rules` has them.

import { Value } from '@sinclair/typebox/value';
import { type DetectionRule, needOf, Rule } from '../config-detection.js';
import { NOISE_SAMPLES_MAX } from '../limits.js';
import type { ShownRule } from '../scorer/wasm-forest.js';

export interface RuleOptions {
  direction?: string;
  minDeviation?: string;
  of?: string;
}

/** Undefined when none of them is given: everything is shown. `refuse` ends the call. */
export function ruleOf(
  { direction, minDeviation, of }: RuleOptions,
  refuse: (message: string) => never,
): ShownRule | undefined {
  if (direction === undefined && minDeviation === undefined && of === undefined) return undefined;
  const rule = Value.Create(Rule) as DetectionRule;
  if (direction !== undefined) {
    if (direction !== 'above' && direction !== 'below' && direction !== 'both') {
      refuse(`--direction is ${direction}, expected above, below or both`);
    }
    rule.direction = direction;
  }
  if (minDeviation !== undefined) {
    rule.minDeviation = minDeviation.trim() === '' ? Number.NaN : Number(minDeviation);
    if (!(rule.minDeviation >= 0 && rule.minDeviation < Number.POSITIVE_INFINITY)) {
      refuse(`--min-deviation is ${minDeviation}, expected a number from 0 on`);
    }
  }
  rule.of = of ?? rule.of;
  const shown = shownRuleOf(rule);
  const isSound = /^\d{1,2}\/\d{1,2}$/.test(rule.of) && shown.needed > 0;
  if (!isSound || shown.needed > shown.among || shown.among > NOISE_SAMPLES_MAX) {
    refuse(`--of is ${of}, expected N/M with N up to M and M up to ${NOISE_SAMPLES_MAX}`);
  }
  return shown;
}

function shownRuleOf(rule: DetectionRule): ShownRule {
  const { direction: side, minDeviation, minRelativeDeviation, threshold, ignore } = rule;
  const need = needOf(rule);
  return { side, minDeviation, minRelativeDeviation, threshold, ...need, isIgnored: ignore };
}
