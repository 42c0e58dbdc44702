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
  /** Those that may be flagged. */
  ready: number;
  /** Samples learnt of those that are needed, of the warming ones. */
  share: number;
  readyAt: string | undefined;
}

/** Once it is wanted: what a view answers first comes first. */
export function useWarming(isWanted: boolean): Warming | undefined {
  const found = useSignal<Warming | undefined>(undefined);
  useEffect(() => {
    if (!isWanted) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      try {
        found.value = await lookThrough(stop.signal);
      } catch {
        if (stop.signal.aborted) return; // else: no answer now, perhaps the next time
      }
      const { looked = 0, warming = 0 } = found.value ?? {};
      const isOver = looked > 0 && warming === 0;
      timer = setTimeout(() => void look(), isOver ? REST_MS : AGAIN_MS);
    };
    void look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [found, isWanted]);
  return found.value;
}

/** Nothing can be flagged: calm says nothing then. */
export function isAllWarming(found: Warming | undefined): boolean {
  return found?.isAll === true && found.warming > 0 && found.ready === 0;
}

export function WarmUp({ found }: { found: Warming | undefined }) {
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
  const found: Warming = {
    ...{ looked: 0, isAll: true, warming: 0, ready: 0, share: 0 },
    readyAt: undefined,
  };
  let [samples, needed] = [0, 0];
  let cursor: string | undefined;
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const after = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await ask<SeriesPage>(`/anomaly/v1/series?limit=${PAGE_ROWS}${after}`, {
      signal: stop,
    });
    for (const { state, progress } of page.series) {
      found.looked++;
      if (state !== 'warming' && state !== 'unscored') found.ready++;
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
