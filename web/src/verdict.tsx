// What both stages say of an anomaly, and what became of its incident, in words. What this page does not know is shown as
// the server calls it.

import { number } from './format.js';
import type { Anomaly } from './rows.js';
import { Name, Tag } from './text.js';

export const CAUSE_WORDS: Readonly<Record<string, string>> = {
  magnitude: 'further out than usual',
  novelty: 'a pattern not seen before',
  quiet: 'too quiet',
  unspecified: 'unusual',
};

const VERDICT_WORDS: Readonly<Record<string, string>> = {
  confirmed: 'confirmed: the model did not foresee it either',
  suppressed: 'suppressed: the model foresaw it',
  abstained: 'abstained: the model cannot tell',
  unchecked: 'unchecked: nothing looked a second time; the score stands',
};

const OUTCOME_WORDS: Readonly<Record<string, string>> = {
  pending: 'being decided',
  notified: 'notified',
  held: 'held back',
  shadow: 'shadow: nobody told',
  muted: 'muted',
  dismissed: 'dismissed',
  suppressed: 'the model foresaw it',
};

/** What was decided about telling somebody. */
export function OutcomeTag({ outcome }: { outcome: string }) {
  return <Tag kind={outcome}>{OUTCOME_WORDS[outcome] ?? outcome}</Tag>;
}

/** The model's own expectation, where it gave one. */
export function DeepCheckLine({ anomaly }: { anomaly: Anomaly }) {
  const { verdict, deepCheck } = anomaly;
  const { model, expected, lower, upper, reason } = deepCheck ?? {};
  return (
    <>
      {VERDICT_WORDS[verdict] ?? verdict}
      {typeof expected === 'number' && (
        <>
          ; it expected {number(expected)}, {number(lower)} to {number(upper)}
        </>
      )}
      {typeof reason === 'string' && reason !== '' && (
        <>
          {' '}
          (<Name text={reason} />)
        </>
      )}
      {typeof model === 'string' && (
        <span class="faint">
          {' '}
          <Name text={model} />
        </span>
      )}
    </>
  );
}

/** Unchecked is the usual case where there is no deep check, and says nothing in a row. */
export function VerdictTag({ verdict }: { verdict: Anomaly['verdict'] }) {
  if (verdict === 'unchecked') return null;
  return <Tag kind={verdict}>{verdict}</Tag>;
}
