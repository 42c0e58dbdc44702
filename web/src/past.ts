// Older values of one series, which the server reads through from the Prometheus of its settings; the page itself talks to
// nobody else. Asked for when a span is chosen and again as time goes on by one of its steps, not with every sample.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { HistoryAnswer } from '../../src/api/history-answer.js';
import { ask, RestError, refusal } from './rest.js';
import { route } from './route.js';
import type { Series } from './rows.js';

export const SPANS = {
  '1h': 36e5,
  '6h': 6 * 36e5,
  '1d': 864e5,
  '7d': 7 * 864e5,
  '30d': 30 * 864e5,
};
export type Span = keyof typeof SPANS;
const USUAL: Span = '6h';
/** A question is good for so much of its span. */
const STEPS = 200;
const STEP_MS_MIN = 60_000;

export interface Past {
  /** The question; undefined while it is not known until when. */
  path: string | undefined;
  answer: HistoryAnswer | undefined;
  error: RestError | undefined;
}

export function chosenSpan(): Span {
  const { span = USUAL } = route.value.query;
  return Object.hasOwn(SPANS, span) ? (span as Span) : USUAL;
}

/** As the address says it; the usual one is not part of it. */
export function spanInAddress(span: Span): string | undefined {
  return span === USUAL ? undefined : span;
}

export function usePast(series: Series | undefined): Past {
  const path = series === undefined ? undefined : pathOf(series, chosenSpan());
  const past = useSignal<Past>({ path: undefined, answer: undefined, error: undefined });
  const isRefused = refusal.value !== undefined;
  useEffect(() => {
    if (path === undefined || isRefused) return;
    const stop = new AbortController();
    const load = async () => {
      try {
        const answer = await ask<HistoryAnswer>(path, { signal: stop.signal });
        past.value = { path, answer, error: undefined };
      } catch (error) {
        if (stop.signal.aborted) return;
        // Anything else is a fault of ours.
        if (!(error instanceof RestError)) throw error;
        past.value = { path, answer: undefined, error };
      }
    };
    void load();
    return () => stop.abort();
  }, [path, isRefused, past]);
  const { answer, error } = past.value;
  return { path, answer, error };
}

function pathOf({ fingerprint, lastTimestamp }: Series, span: Span): string | undefined {
  if (lastTimestamp === undefined) return undefined;
  const stepMs = Math.max(STEP_MS_MIN, SPANS[span] / STEPS);
  const end = Math.ceil(Date.parse(lastTimestamp) / stepMs) * stepMs;
  const bounds = `start=${(end - SPANS[span]) / 1000}&end=${end / 1000}`;
  return `/anomaly/v1/series/${encodeURIComponent(fingerprint)}/history?${bounds}`;
}
