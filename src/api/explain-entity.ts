// The sentence about an anomaly of an entity. What is judged there is the distance of a vector, a number that says nothing
// to a reader; so the features are told, the one that has most to do with it first.

import type { Label } from '../series.js';
import type { Anomaly, FeatureShare } from './anomalies.js';

/** Less is nothing to look at. */
const SHARE_TOLD = 0.05;
/** What the rest contributes stands in the row. */
const FEATURES_TOLD = 3;

export interface Words {
  subject(labels: readonly Label[]): string;
  plain(value: number): string;
}

/** Undefined of a series by itself, which has no features. */
export function whatEntityDid(
  { labels, features, value, upper }: Pick<Anomaly, 'labels' | 'features' | 'value' | 'upper'>,
  { subject, plain }: Words,
): string | undefined {
  if (features.length === 0) return undefined;
  // Named by its detector: the name of the series is the same for all of them.
  const detector = labels.find(({ name }) => name === 'detector')?.value ?? '';
  const named = labels.filter(({ name }) => name !== '__name__');
  const who = subject([{ name: '__name__', value: detector }, ...named]);
  const all = listed(features.map(({ name }) => name));
  const verb = features.length === 1 ? 'is' : 'are';
  const far = `${plain(value)} from what is usual (up to ${plain(upper)})`;
  return `${who}: ${blamed(features, plain)}; together ${all} ${verb} ${far}`;
}

function blamed(features: readonly FeatureShare[], plain: Words['plain']): string {
  const told = features
    .filter(({ share }) => share >= SHARE_TOLD)
    .toSorted((a, b) => b.share - a.share)
    .slice(0, FEATURES_TOLD)
    .map(({ name, share, value }) => {
      const at = value === undefined ? '' : ` (at ${plain(value)})`;
      return `${name} contributes ${Math.round(100 * share)} %${at}`;
    });
  return told.length === 0 ? 'no single feature contributes' : told.join(', ');
}

function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
