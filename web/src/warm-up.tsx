// How many series are still warming, and when they will be ready. The series are looked through a page at a time, and
// where there are too many only the first of them: then that is said.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { integer } from './format.js';
import { ask } from './rest.js';
import type { SeriesPage } from './rows.js';
import { Tag, Time } from './text.js';

const PAGE_ROWS = 500;
const PAGES_MAX = 4;
const AGAIN_MS = 5_000;
const REST_MS = 60_000;

export interface Warming {
  looked: number;
  isAll: boolean;
  warming: number;
  /** Samples learnt of those that are needed, of the warming ones. */
  share: number;
  readyAt: string | undefined;
}

export function useWarming(): Warming | undefined {
  const found = useSignal<Warming | undefined>(undefined);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      try {
        found.value = await lookThrough(stop.signal);
      } catch {
        if (stop.signal.aborted) return; // else: no answer now, perhaps the next time
      }
      const isWarming = (found.value?.warming ?? 1) > 0;
      timer = setTimeout(() => void look(), isWarming ? AGAIN_MS : REST_MS);
    };
    void look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [found]);
  return found.value;
}

export function WarmUp() {
  const found = useWarming();
  if (found === undefined || found.warming === 0) return null;
  return (
    <Tag kind="calm">
      {integer(found.warming)} {found.isAll ? '' : `of the first ${integer(found.looked)} `}warming,{' '}
      {Math.floor(100 * found.share)} %
      {found.readyAt !== undefined && (
        <>
          , ready at <Time at={found.readyAt} />
        </>
      )}
    </Tag>
  );
}

async function lookThrough(stop: AbortSignal): Promise<Warming> {
  const found: Warming = { looked: 0, isAll: true, warming: 0, share: 0, readyAt: undefined };
  let [samples, needed] = [0, 0];
  let cursor: string | undefined;
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const after = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await ask<SeriesPage>(`/anomaly/v1/series?limit=${PAGE_ROWS}${after}`, {
      signal: stop,
    });
    for (const { state, progress } of page.series) {
      found.looked++;
      if (state !== 'warming' || progress === undefined) continue;
      found.warming++;
      samples += progress.samples;
      needed += progress.needed;
      const { readyAt } = progress;
      if (readyAt !== null && readyAt > (found.readyAt ?? '')) found.readyAt = readyAt;
    }
    cursor = page.cursor;
    if (cursor === undefined) break;
  }
  found.isAll = cursor === undefined;
  found.share = needed === 0 ? 1 : samples / needed;
  return found;
}
