// Swim lanes: when and where, by any label. A lane is a value of the label, a cell the highest score within its time;
// the higher, the taller and the stronger the colour. Cells lead to the incident. Anomalies are read a page at a time up
// to a bound, and kept current by the event stream.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { connection, onAnomaly } from './events.js';
import {
  clock,
  integer,
  plural,
  scoreText,
  severity,
  shortened,
  shortSelectorOf,
  visible,
} from './format.js';
import { type Bar, CELLS, type Lane, labelNames, lanesOf, runsOf } from './lane-cells.js';
import { ask } from './rest.js';
import { go, linkTo, linkWith, route } from './route.js';
import type { Anomaly, AnomalyPage } from './rows.js';
import { Name } from './text.js';

const SPANS = { '1h': 36e5, '6h': 6 * 36e5, '1d': 864e5, '7d': 7 * 864e5 } as const;
type Span = keyof typeof SPANS;
const LANES_MAX = 12;
const PAGE_ROWS = 1_000;
/** 10,000 anomalies are read; who has more is told that these are the newest. */
const PAGES_MAX = 10;
/** Anomalies heard of since; the next reading begins anew with each cell's width of time. */
const HEARD_MAX = 10_000;
/** In a storm lanes are drawn so often. */
const SHOW_MS = 250;
/** What people mean by "where", in this order; the first that tells two apart is shown. */
const USUAL = ['pod', 'service', 'instance', 'job', 'namespace', '__name__'];

export function Lanes({ match, endMs }: { match: string; endMs: number | undefined }) {
  const { query } = route.value;
  const span: Span = Object.hasOwn(SPANS, query['span'] ?? '') ? (query['span'] as Span) : '6h';
  // A cell's width at a time: lanes do not creep, and one question serves for as long.
  const cellMs = SPANS[span] / CELLS;
  const untilMs = endMs === undefined ? undefined : Math.ceil(endMs / cellMs) * cellMs;
  const fromMs = untilMs === undefined ? undefined : untilMs - SPANS[span];
  const { bars, isAll } = useBars(match, fromMs);
  if (fromMs === undefined || untilMs === undefined) return null;
  const seen = [...bars.values()].filter(
    (bar) => (bar.endMs ?? untilMs) >= fromMs && bar.onsetMs <= untilMs,
  );
  const names = labelNames(seen);
  const by = query['by'] ?? USUAL.find((name) => (names.get(name)?.size ?? 0) > 1) ?? 'pod';
  const lanes = lanesOf(seen, { by, fromMs, untilMs, cellMs });
  return (
    <section aria-label="Lanes" class="lanes">
      <div class="bar">
        <h2>
          {plural(seen.length, 'anomaly', 'anomalies')} by{' '}
          <select
            aria-label="Label"
            value={by}
            onChange={(event) => go(linkWith({ by: event.currentTarget.value }))}
          >
            {[...new Set([by, ...USUAL.filter((name) => names.has(name)), ...names.keys()])].map(
              (name) => (
                <option key={name} value={name}>
                  {visible(shortened(name === '__name__' ? 'metric' : name, 40))}
                </option>
              ),
            )}
          </select>
        </h2>
        <nav class="tabs" aria-label="Time span">
          {(Object.keys(SPANS) as Span[]).map((name) => (
            <a
              key={name}
              href={linkWith({ span: name === '6h' ? undefined : name })}
              {...(name === span && { 'aria-current': 'true' as const })}
            >
              {name}
            </a>
          ))}
        </nav>
      </div>
      <div class="lane-table">
        {lanes.slice(0, LANES_MAX).map((lane) => (
          <LaneRow key={lane.value} lane={lane} by={by} cellMs={cellMs} fromMs={fromMs} />
        ))}
        <Axis fromMs={fromMs} untilMs={untilMs} />
      </div>
      {lanes.length > LANES_MAX && (
        <p class="faint">And {plural(lanes.length - LANES_MAX, 'more lane')} with lower scores.</p>
      )}
      {!isAll && <p class="faint">Only the newest {integer(bars.size)} anomalies are shown.</p>}
    </section>
  );
}

function LaneRow(row: { lane: Lane; by: string; cellMs: number; fromMs: number }) {
  const { lane, by, cellMs, fromMs } = row;
  const narrow = linkWith({ match: shortSelectorOf({ [by]: lane.value }) });
  const summary = `${plural(lane.count, 'anomaly', 'anomalies')}, highest ${scoreText(lane.top)}`;
  return (
    <>
      <a class="lane-name" href={narrow} title={visible(shortened(lane.value, 300))}>
        <Name text={lane.value === '' ? '(none)' : lane.value} lengthMax={40} />
        <span class="unseen">: {summary}</span>
      </a>
      <svg class="lane" viewBox={`0 0 ${CELLS} 10`} preserveAspectRatio="none" aria-hidden="true">
        {runsOf(lane).map(({ index, length, score, incident }) => {
          const level = severity(score);
          const height = [0, 4, 7, 10][level] ?? 10;
          return (
            // The index is the time of the cell.
            <a
              key={index}
              href={incident === null ? '#/now' : linkTo('incident', incident)}
              tabindex={-1}
            >
              <rect x={index} y={10 - height} width={length} height={height} class={`s${level}`}>
                <title>{`${clock(fromMs + index * cellMs)}: ${scoreText(score)}`}</title>
              </rect>
            </a>
          );
        })}
      </svg>
      <span class="lane-top">{scoreText(lane.top)}</span>
    </>
  );
}

function Axis({ fromMs, untilMs }: { fromMs: number; untilMs: number }) {
  const marks = [0, 1, 2, 3].map((quarter) => fromMs + (quarter / 4) * (untilMs - fromMs));
  const isLong = untilMs - fromMs > 864e5;
  return (
    <>
      <span />
      <span class="lane-axis faint" aria-hidden="true">
        {marks.map((at) => (
          <span key={at}>
            {isLong
              ? new Date(at).toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric' })
              : clock(at, at).slice(0, 5)}
          </span>
        ))}
      </span>
      <span />
    </>
  );
}

function useBars(
  match: string,
  fromMs: number | undefined,
): { bars: Map<string, Bar>; isAll: boolean } {
  const bars = useSignal<{ bars: Map<string, Bar>; isAll: boolean }>({
    bars: new Map(),
    isAll: true,
  });
  const isLive = connection.value === 'live';
  // After a break everything is read anew.
  useEffect(() => {
    if (fromMs === undefined) return;
    const stop = new AbortController();
    let read: ReadonlyMap<string, Bar> = new Map();
    let isAll = true;
    // What was heard is newer than what was read.
    const heard = new Map<string, Bar>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      timer = undefined;
      bars.value = { bars: new Map([...read, ...heard]), isAll };
    };
    const unfollow = onAnomaly((anomaly) => {
      // With a selector only the server knows whether it matches; those that are known are kept current.
      if (match !== '' && !read.has(anomaly.id)) return;
      if (heard.size < HEARD_MAX) heard.set(anomaly.id, barOf(anomaly));
      timer ??= setTimeout(show, SHOW_MS);
    });
    void readPages({ match, fromMs, stop: stop.signal }, (pages, isComplete) => {
      [read, isAll] = [pages, isComplete];
      show();
    });
    return () => {
      stop.abort();
      clearTimeout(timer);
      unfollow();
    };
  }, [match, fromMs, isLive]);
  return bars.value;
}

async function readPages(
  wanted: { match: string; fromMs: number; stop: AbortSignal },
  show: (bars: ReadonlyMap<string, Bar>, isAll: boolean) => void,
): Promise<void> {
  const { match, fromMs, stop } = wanted;
  const suffix = match === '' ? '' : `&match[]=${encodeURIComponent(match)}`;
  const path = `/anomaly/v1/anomalies?start=${Math.floor(fromMs / 1000)}&limit=${PAGE_ROWS}${suffix}`;
  const bars = new Map<string, Bar>();
  let cursor: string | undefined;
  try {
    for (let pages = 0; pages < PAGES_MAX; pages++) {
      const after: string = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page: AnomalyPage = await ask<AnomalyPage>(`${path}${after}`, { signal: stop });
      for (const anomaly of page.anomalies) bars.set(anomaly.id, barOf(anomaly));
      cursor = page.cursor;
      show(bars, cursor === undefined);
      if (cursor === undefined) return;
    }
  } catch {
    // Stopped, or not answered: the list above says why, and a connection that comes back reads again.
  }
}

function barOf(anomaly: Anomaly): Bar {
  const { incident, labels, onset, end, score } = anomaly;
  return {
    incident,
    labels,
    onsetMs: Date.parse(onset),
    endMs: end === null ? undefined : Date.parse(end),
    score: score ?? 0,
  };
}
