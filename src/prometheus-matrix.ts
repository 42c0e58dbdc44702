// What query and query_range bring, checked: series with their labels in one order, and points as they stand in the JSON,
// numbers as text. Knows nothing of requests. An answer that has another shape is undefined, whole: nothing is guessed.

import type { Label } from './series.js';

export interface MatrixSeries {
  labels: Label[];
  /** The same labels in any order have the same key. */
  key: string;
  /** Seconds since 1970, and the value as text. */
  points: readonly (readonly [number, string])[];
  /** It has native histograms, whatever values it has. */
  isHistogram: boolean;
}

interface Written {
  metric?: unknown;
  value?: unknown;
  values?: unknown;
  histogram?: unknown;
  histograms?: unknown;
}

/** Of `{resultType: 'matrix', result: […]}`. */
export function matrixOf(answer: unknown): MatrixSeries[] | undefined {
  return seriesOf(answer, 'matrix', ({ values }) => values ?? []);
}

/** Of `{resultType: 'vector', result: […]}`, one point a series, or of a scalar, which is one series without labels. */
export function pointsOf(answer: unknown): MatrixSeries[] | undefined {
  const { resultType, result } = (answer ?? {}) as { resultType?: unknown; result?: unknown };
  if (resultType === 'scalar') {
    return isPoint(result)
      ? [{ labels: [], key: '[]', points: [result], isHistogram: false }]
      : undefined;
  }
  return seriesOf(answer, 'vector', ({ value }) => (value === undefined ? [] : [value]));
}

/** As Prometheus writes numbers; NaN for what is none. */
export function numberOf(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  return text === '' ? Number.NaN : Number(text);
}

function seriesOf(
  answer: unknown,
  type: string,
  valuesOf: (written: Written) => unknown,
): MatrixSeries[] | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined;
  const { resultType, result } = answer as { resultType?: unknown; result?: unknown };
  if (resultType !== type || !Array.isArray(result)) return undefined;
  const found: MatrixSeries[] = [];
  for (const written of result as Written[]) {
    const labels = labelsOf(written?.metric);
    const points = labels === undefined ? undefined : valuesOf(written);
    if (labels === undefined || !Array.isArray(points) || !points.every(isPoint)) return undefined;
    const isHistogram = written.histogram !== undefined || written.histograms !== undefined;
    const key = JSON.stringify(labels.map(({ name, value }) => [name, value]));
    found.push({ labels, key, points, isHistogram });
  }
  return found;
}

/** In the order of their names; without the empty ones, which are as good as absent. */
function labelsOf(metric: unknown): Label[] | undefined {
  if (typeof metric !== 'object' || metric === null) return undefined;
  const labels: Label[] = [];
  for (const name of Object.keys(metric).sort()) {
    const value = (metric as Record<string, unknown>)[name];
    if (typeof value !== 'string') return undefined;
    if (value !== '') labels.push({ name, value });
  }
  return labels;
}

function isPoint(point: unknown): point is readonly [number, string] {
  return Array.isArray(point) && typeof point[0] === 'number' && typeof point[1] === 'string';
}
