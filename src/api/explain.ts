// One plain sentence about an anomaly: what the series did, how far that is from what was expected, when, by which measure
// it is unusual, and what the deep check says of it. Every number in it is one of the anomaly's, rounded to four digits, or
// to as many as tell them apart.

import type { Label } from '../series.js';
import type { Anomaly } from './anomalies.js';
import { whatEntityDid } from './explain-entity.js';
import type { AnomalyVerdict } from './verdicts.js';

/** Said of the series in a sentence; the rest of its labels stands beside it. */
const NAMING = ['namespace', 'pod', 'service', 'job', 'instance'];
const NAMED_MAX = 2;
/** A value is told as a multiple of what was expected from here on, or as its opposite below. */
const FACTOR_MIN = 1.5;

export function explain(anomaly: Anomaly): string {
  return whatItDid(anomaly) + whatWasSaid(anomaly.verdict);
}

function whatItDid(anomaly: Anomaly): string {
  const { value, expected, lower, upper, cause } = anomaly;
  const what = subject(anomaly.labels);
  const unit = isCounter(anomaly.labels) ? ' per second' : '';
  const at = `at ${time(anomaly.peakMs)}`;
  const told = tellingApart(Math.max(upper - lower, Math.abs(value - expected)));
  const seen = `${told(value)}${unit}`;
  const usual = `(usual ${told(lower)} to ${told(upper)})`;
  if (cause === 'quiet') {
    return `${what} has stood still at ${seen} longer than ever before, ${at}; unusual by quiet`;
  }
  const why = cause === 'unspecified' ? '' : `; unusual by ${cause}`;
  const entity = whatEntityDid(anomaly, { subject, plain });
  if (entity !== undefined) return `${entity}, ${at}${why}`;
  if (value > upper || value < lower) {
    const verb = value > upper ? 'rose' : 'fell';
    return `${what} ${verb} to ${seen}, ${distance(value, expected, told)} ${usual}, ${at}${why}`;
  }
  return (
    `${what} is at ${seen}, within what is usual ${usual} around the expected ` +
    `${told(expected)}, but in a pattern not seen before, ${at}${why}`
  );
}

function whatWasSaid(verdict: AnomalyVerdict | undefined): string {
  if (verdict === undefined) return '';
  const { outcome, lower, upper, model, reason } = verdict;
  const by = model === '' ? 'the deep check' : `the deep check (${model})`;
  const told = tellingApart((upper ?? 0) - (lower ?? 0));
  const band = lower === undefined || upper === undefined ? '' : `${told(lower)} to ${told(upper)}`;
  const because = reason === '' ? '' : `: ${reason}`;
  switch (outcome) {
    case 'confirmed':
      return `; ${by} confirms it${band === '' ? '' : `, having expected ${band}`}`;
    case 'suppressed':
      return `; ${by} finds it to be expected${band === '' ? '' : `, ${band}`}`;
    case 'abstained':
      return `; ${by} cannot tell${because}`;
    default:
      return `; not checked a second time${because}`;
  }
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

/** But bytes of a disk differ in the eighth: as many as show what is `scale` apart. */
function tellingApart(scale: number): (value: number) => string {
  return (value) => {
    const ratio = Math.abs(value) / scale;
    if (!(ratio > 100 && Number.isFinite(ratio))) return plain(value);
    const digits = Math.min(Math.ceil(Math.log10(ratio)) + 2, 15);
    return String(Number(value.toPrecision(digits)));
  };
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

function distance(value: number, expected: number, told: (value: number) => string): string {
  const factor = factorOf({ value, expected });
  if (factor !== undefined && factor >= FACTOR_MIN) {
    return `${Number(factor.toPrecision(2))} times the expected ${told(expected)}`;
  }
  const side = value > expected ? 'above' : 'below';
  return `${plain(Math.abs(value - expected))} ${side} the expected ${told(expected)}`;
}

/** By its name alone: a candidate does not say how its series was scored. */
function isCounter(labels: readonly Label[]): boolean {
  return labels.some(({ name, value }) => name === '__name__' && value.endsWith('_total'));
}
