// The series that are known, by selector: what each is doing now, and of those that are not scored, why.

import { useRef } from 'preact/hooks';
import { number, plural, scoreText, severity } from './format.js';
import { useLoaded } from './loaded.js';
import { linkTo, linkWith, route } from './route.js';
import type { Series, SeriesPage } from './rows.js';
import { Search } from './search.js';
import { Empty, EquivalentCall, Failure, Name, Tag, Time } from './text.js';

const PAGE_ROWS = 50;
/** Rows on the page; a selector finds the others. */
const ROWS_MAX = 500;

export function SeriesList() {
  const match = route.value.query['match'] ?? '';
  const suffix = match === '' ? '' : `&match[]=${encodeURIComponent(match)}`;
  const wanted = rowsWanted(route.value.query['rows']);
  const path = `/anomaly/v1/series?limit=${wanted}${suffix}`;
  const { value, error } = useLoaded<SeriesPage>(path, 5_000);
  const kept = useRef<{ suffix: string; page: SeriesPage } | undefined>(undefined);
  if (value !== undefined) kept.current = { suffix, page: value };
  // While more of the same are asked for, those that are there stay.
  const page = kept.current?.suffix === suffix ? kept.current.page : undefined;
  const { series: rows = [], cursor } = page ?? {};
  return (
    <>
      <div class="bar">
        <h1 class="headline">Series</h1>
        <Search placeholder={'up, or {namespace="shop",pod=~"checkout-.*"}'} />
      </div>
      <Failure error={error} />
      {page?.unreachable?.map(({ scorer, reason }) => (
        <p key={scorer} class="failure">
          Series of <Name text={scorer} /> are missing here: <Name text={reason} />
        </p>
      ))}
      {page !== undefined && rows.length === 0 && (
        <Empty>
          {match === '' ? (
            <>
              No series is known yet. <a href={linkTo('now')}>Now</a> shows how to send some.
            </>
          ) : (
            <>
              Nothing matches <Name text={match} />.{' '}
              <a href={linkWith({ match: undefined })}>Show all</a>
            </>
          )}
        </Empty>
      )}
      <ol class="rows">
        {rows.map((series) => (
          <li key={series.fingerprint}>
            <SeriesRow series={series} />
          </li>
        ))}
      </ol>
      {cursor !== undefined && wanted < ROWS_MAX && (
        <p class="buttons">
          <a href={linkWith({ rows: String(wanted + PAGE_ROWS) })}>Show more</a>
        </p>
      )}
      {cursor !== undefined && wanted >= ROWS_MAX && (
        <p class="faint">
          The first {plural(rows.length, 'series', 'series')}; a selector finds the others.
        </p>
      )}
      <EquivalentCall paths={[path]} />
    </>
  );
}

/** As the address says, within what a page holds. */
function rowsWanted(text: string | undefined): number {
  const rows = Number(text ?? PAGE_ROWS);
  return Number.isInteger(rows) ? Math.min(ROWS_MAX, Math.max(PAGE_ROWS, rows)) : PAGE_ROWS;
}

function SeriesRow({ series }: { series: Series }) {
  const { labels, flag, score, lastValue, expected, lastTimestamp, reason } = series;
  const { __name__: metric = '', ...others } = labels;
  const line = Object.entries(others).map(([name, value]) => `${name}=${value}`);
  return (
    <a class="row member plain" href={linkTo('series', series.fingerprint)}>
      <span class={`score s${flag === 1 ? severity(score ?? 0) : 0}`}>
        <b>{scoreText(score)}</b>
      </span>
      <span class="what">
        <span>
          <b>
            <Name text={metric === '' ? series.series : metric} lengthMax={70} />
          </b>{' '}
          <StateTag series={series} />
        </span>
        <span class="faint">
          <Name text={line.join('  ')} lengthMax={130} />
        </span>
      </span>
      <span class="numbers">
        {lastTimestamp === undefined ? (
          <span class="faint">
            <Name text={reason ?? ''} lengthMax={80} />
          </span>
        ) : (
          <>
            <span>
              <b>{number(lastValue)}</b> for {number(expected)}
            </span>
            <span class="faint">
              <Time at={lastTimestamp} />
            </span>
          </>
        )}
      </span>
    </a>
  );
}

export function StateTag({ series }: { series: Series }) {
  const { state, progress, flag } = series;
  if (flag === 1) return <Tag kind="notified">flagged</Tag>;
  if (state === 'active') return null;
  if (state === 'warming' && progress !== undefined) {
    return (
      <Tag kind="calm">
        warming, {progress.samples} of {progress.needed}
      </Tag>
    );
  }
  return <Tag kind="calm">{state}</Tag>;
}
