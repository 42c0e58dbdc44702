// One series: what it does now and why that is or is not an anomaly, its values with the expected band, its scores, and
// its anomalies with what was said of them. Treeline keeps a window of values and no history: what the page shows beyond
// that comes from a Prometheus or was seen since it was opened, and it says which.

import { useEffect } from 'preact/hooks';
import { speakOf } from './actions.js';
import { Behind } from './behind.js';
import { SeriesChart } from './chart.js';
import { duration, number, scoreText, shortSelectorOf, visible } from './format.js';
import { Judgement, OwnAnomalies } from './judgement.js';
import { useLoaded } from './loaded.js';
import { pointsOf, remember } from './observed.js';
import { usePast } from './past.js';
import { PastLine, PastSpans } from './past-line.js';
import { linkTo, route } from './route.js';
import type { Anomaly, AnomalyPage, Feedback, Series } from './rows.js';
import { StateTag } from './series-list.js';
import { EquivalentCall, Failure, Name, Sentence, Time } from './text.js';

const POLL_MS = 1_000;
const ANOMALIES = 20;

export function SeriesView({ fingerprint }: { fingerprint: string }) {
  const path = `/anomaly/v1/series/${encodeURIComponent(fingerprint)}`;
  const { value: series, error } = useLoaded<Series>(path, POLL_MS);
  const match = series === undefined ? undefined : shortSelectorOf(series.labels);
  const page = useLoaded<AnomalyPage>(
    match === undefined
      ? undefined
      : `/anomaly/v1/anomalies?limit=${ANOMALIES}&match[]=${encodeURIComponent(match)}`,
  );
  const told = useLoaded<{ feedback: Feedback[] }>('/anomaly/v1/feedback');
  const anomalies = (page.value?.anomalies ?? []).filter((row) => row.fingerprint === fingerprint);
  const chosen = anomalies.find(({ id }) => id === route.value.query['anomaly']) ?? anomalies[0];
  const id = chosen?.id;
  useEffect(() => speakOf(id === undefined ? [] : [id]), [id]);
  useEffect(() => {
    if (series !== undefined) remember(series);
  }, [series]);
  const past = usePast(series);
  const points = series === undefined ? undefined : pointsOf(series, past.answer);
  const feedback = told.value?.feedback ?? [];
  return (
    <>
      <p class="crumbs">
        <a href={linkTo('now')}>Now</a> ›{' '}
        {typeof chosen?.incident === 'string' ? (
          <a href={linkTo('incident', chosen.incident)}>Incident</a>
        ) : (
          <a href={linkTo('series')}>Series</a>
        )}{' '}
        › Series
      </p>
      {series === undefined && error?.status === 404 ? (
        <p class="empty">
          No such series is known here. <a href={linkTo('series')}>Look for it</a>
        </p>
      ) : (
        <Failure error={error} />
      )}
      {series !== undefined && points !== undefined && (
        <>
          <SeriesHead series={series} chosen={chosen} />
          <section aria-label="Values and scores">
            <div class="bar">
              <h2>Values and scores</h2>
              <PastSpans past={past} />
            </div>
            <SeriesChart points={points} anomalies={anomalies} chosen={id}>
              <PastLine past={past} points={points} />
            </SeriesChart>
          </section>
          {chosen !== undefined && <Judgement anomaly={chosen} feedback={feedback} />}
          {anomalies.length > 0 && (
            <OwnAnomalies
              anomalies={anomalies}
              chosen={id}
              hasMore={page.value?.cursor !== undefined}
            />
          )}
          {series.entity !== undefined && <Behind entity={series.entity} />}
          <Labels series={series} />
        </>
      )}
      <EquivalentCall paths={[path, past.path]} />
    </>
  );
}

function SeriesHead({ series, chosen }: { series: Series; chosen: Anomaly | undefined }) {
  const {
    labels,
    lastValue,
    expected,
    lower,
    upper,
    score,
    scoredAs,
    intervalSeconds,
    progress,
    reason,
  } = series;
  const isOpen = chosen?.state === 'open';
  return (
    <>
      <h1 class="headline sentence">
        {isOpen ? (
          <Sentence text={chosen.explanation} />
        ) : (
          <Name text={labels['__name__'] ?? series.series} lengthMax={120} />
        )}
      </h1>
      {reason !== undefined && (
        <p class="empty">
          {series.state === 'unsuited' ? 'Not suited' : 'Not scored'}:{' '}
          <Name text={reason} lengthMax={300} />
        </p>
      )}
      <dl class="strip">
        <div>
          <dt>Last value{scoredAs === 'rate' ? ', per second' : ''}</dt>
          <dd>
            <b>{number(lastValue)}</b> <Time at={series.lastTimestamp} />
          </dd>
        </div>
        <div>
          <dt>Expected</dt>
          <dd>
            <b>{number(expected)}</b> {number(lower)} to {number(upper)}
          </dd>
        </div>
        <div>
          <dt>Score</dt>
          <dd>
            <b>{scoreText(score)}</b> 1 is the threshold
          </dd>
        </div>
        <div>
          <dt>State</dt>
          <dd>
            <b>{series.state}</b> <StateTag series={series} />
            {progress?.readyAt !== undefined && progress.readyAt !== null && (
              <>
                {' '}
                ready at <Time at={progress.readyAt} />
              </>
            )}
          </dd>
        </div>
        {intervalSeconds !== undefined && (
          <div>
            <dt>Usual interval</dt>
            <dd>
              <b>{duration(1000 * intervalSeconds)}</b>
            </dd>
          </div>
        )}
      </dl>
    </>
  );
}

function Labels({ series }: { series: Series }) {
  return (
    <section aria-label="Labels">
      <h2>Labels</h2>
      <dl class="pairs labels">
        {Object.entries(series.labels).map(([name, value]) => (
          <div key={name}>
            <dt>
              <Name text={name} />
            </dt>
            <dd>
              <bdi class="name whole">{visible(value)}</bdi>
            </dd>
          </div>
        ))}
        <div>
          <dt class="faint">fingerprint</dt>
          <dd class="faint">
            {series.fingerprint}, partition {series.partition}
          </dd>
        </div>
      </dl>
    </section>
  );
}
