// One plain sentence about an anomaly: what the series did, how far that is from what was expected, when, and by which
// measure it is unusual. Every number in it is one of the anomaly's, rounded to four digits.

import type { Label } from '../series.js';
import type { Anomaly } from './anomalies.js';

/** Said of the series in a sentence; the rest of its labels stands beside it. */
const NAMING = ['namespace', 'pod', 'service', 'job', 'instance'];
const NAMED_MAX = 2;
/** A value is told as a multiple of what was expected from here on, or as its opposite below. */
const FACTOR_MIN = 1.5;

export function explain(anomaly: Anomaly): string {
  const { value, expected, lower, upper, cause } = anomaly;
  const what = subject(anomaly.labels);
  const unit = isCounter(anomaly.labels) ? ' per second' : '';
  const at = `at ${time(anomaly.peakMs)}`;
  const seen = `${plain(value)}${unit}`;
  const usual = `(usual ${plain(lower)} to ${plain(upper)})`;
  if (cause === 'quiet') {
    return `${what} has stood still at ${seen} longer than ever before, ${at}; unusual by quiet`;
  }
  const why = cause === 'unspecified' ? '' : `; unusual by ${cause}`;
  if (value > upper || value < lower) {
    const verb = value > upper ? 'rose' : 'fell';
    return `${what} ${verb} to ${seen}, ${distance(value, expected)} ${usual}, ${at}${why}`;
  }
  return (
    `${what} is at ${seen}, within what is usual ${usual} around the expected ` +
    `${plain(expected)}, but in a pattern not seen before, ${at}${why}`
  );
}

/** How many times the expected value it was; undefined where that says nothing. */
export function factorOf({ value, expected }: Pick<Anomaly, 'value' | 'expected'>) {
  const factor = value / expected;
  return expected !== 0 && Number.isFinite(factor) && factor >= 0 ? factor : undefined;
}

export function time(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms);
}

/** Four digits are as many as a reader takes in. */
export function plain(value: number): string {
  return String(Number(value.toPrecision(4)));
}

/** `queue_depth of job=x instance=y`. */
export function subject(labels: readonly Label[]): string {
  const labelValue = (wanted: string) => labels.find(({ name }) => name === wanted)?.value;
  const named = NAMING.flatMap((name) => {
    const value = labelValue(name);
    return value === undefined ? [] : [`${name}=${value}`];
  }).slice(0, NAMED_MAX);
  const metric = labelValue('__name__') ?? 'A series';
  return named.length === 0 ? metric : `${metric} of ${named.join(' ')}`;
}

function distance(value: number, expected: number): string {
  const factor = factorOf({ value, expected });
  if (factor !== undefined && factor >= FACTOR_MIN) {
    return `${Number(factor.toPrecision(2))} times the expected ${plain(expected)}`;
  }
  const side = value > expected ? 'above' : 'below';
  return `${plain(Math.abs(value - expected))} ${side} the expected ${plain(expected)}`;
}

/** By its name alone: a candidate does not say how its series was scored. */
function isCounter(labels: readonly Label[]): boolean {
  return labels.some(({ name, value }) => name === '__name__' && value.endsWith('_total'));
}
