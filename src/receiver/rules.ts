// What becomes of a series, decided once per series and cached by fingerprint in the decoder. Two rules are built in.
// Our own output comes back whenever a Prometheus scrapes us and remote-writes what it scrapes; scoring it would feed
// the detector with itself. And some series carry no behaviour of their own: how a scrape went, constant labels of a
// thing, the time at which it was made. The user's rules come after them: `drop` wins over `keep`.

import { anyOf } from '../matchers.js';
import type { Label } from '../series.js';
import type { Disposition } from './wasm-decoder.js';

const OWN_NAME = /^(anomaly_|treeline_)/;
const IGNORED_NAME = /^(ALERTS_FOR_STATE$|scrape_)|(_info|_created)$/;

export interface IngestRules {
  /** Series selectors; without any, everything is kept. */
  keep: readonly string[];
  drop: readonly string[];
}

/** Asked once per series, with its labels as they will be logged. */
export type Classify = (labels: readonly Label[]) => Disposition;

/** Throws BadMatcher on a selector that cannot be read. */
export function classifier(rules: IngestRules): Classify {
  const { keep, drop } = rules;
  const isKept = anyOf(keep);
  // Without selectors anyOf matches everything.
  const isDropped = drop.length === 0 ? () => false : anyOf(drop);
  return (labels) => {
    const builtIn = classify(labels);
    if (builtIn !== 'keep') return builtIn;
    return isKept(labels) && !isDropped(labels) ? 'keep' : 'dropped';
  };
}

/** The built-in rules alone. */
export function classify(labels: readonly Label[]): Disposition {
  for (const { name, value } of labels) {
    if (name === 'source_metric') return 'own_output';
    if (name === '__name__') {
      if (OWN_NAME.test(value)) return 'own_output';
      if (IGNORED_NAME.test(value)) return 'ignored';
    }
  }
  return 'keep';
}
