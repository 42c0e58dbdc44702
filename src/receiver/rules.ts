// What becomes of a series, decided once per series and cached by fingerprint in the decoder. Two rules are built in.
// Our own output comes back whenever a Prometheus scrapes us and remote-writes what it scrapes; scoring it would feed
// the detector with itself. And some series carry no behaviour of their own: how a scrape went, constant labels of a
// thing, the time at which it was made.

import type { Label } from '../series.js';
import type { Disposition } from './wasm-decoder.js';

const OWN_NAME = /^(anomaly_|treeline_)/;
const IGNORED_NAME = /^(ALERTS_FOR_STATE$|scrape_)|(_info|_created)$/;

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
