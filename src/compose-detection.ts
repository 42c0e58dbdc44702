// The noise rules of the settings as the scorer takes them, at the start and at every reload.

import type { Settings } from './config.js';
import { needOf } from './config-detection.js';
import type { Step } from './reload.js';
import type { NoiseRule } from './scorer/noise-rules.js';

export function noiseRulesOf({ detection }: Settings): NoiseRule[] {
  return detection.rules.map(
    ({ match, direction, minDeviation, minRelativeDeviation, threshold, ignore, ...rest }) => ({
      ...{ match, side: direction, minDeviation, minRelativeDeviation, threshold },
      ...needOf(rest),
      isIgnored: ignore,
    }),
  );
}

/** A reload puts other rules into force, series by series within a few seconds. */
export function addDetectionStep(
  { settings, steps }: { settings: Settings; steps: Step[] },
  scorer: { useRules(rules: readonly NoiseRule[]): void },
): void {
  let before = noiseRulesOf(settings);
  steps.push({
    keys: ['detection.rules'],
    apply: (next) => {
      const back = before;
      before = noiseRulesOf(next);
      scorer.useRules(before);
      return () => {
        before = back;
        scorer.useRules(back);
      };
    },
  });
}
