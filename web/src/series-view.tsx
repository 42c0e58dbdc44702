// One series: what it does now and why that is or is not an anomaly, its values with the expected band, its scores, and
// its anomalies with what was said of them. Treeline keeps a window of values and no history: what the page shows beyond
// that it has seen itself since it was opened, and says so.

import { useEffect } from 'preact/hooks';
import { FeedbackButtons, KIND_WORDS, speakOf, takeBack } from './actions.js';
import { SeriesChart } from './chart.js';
import { duration, number, scoreText, severity, shortSelectorOf, visible } from './format.js';
import { useLoaded } from './loaded.js';
import { pointsOf, remember } from './observed.js';
import { linkTo, linkWith, route } from './route.js';
import type { Anomaly, AnomalyPage, Feedback, Incident, Series } from './rows.js';
import { StateTag } from './series-list.js';
import { alertRule } from './snippets.js';
import { CopyButton, EquivalentCall, Failure, Name, Sentence, Tag, Time } from './text.js';
import { CAUSE_WORDS, DeepCheckLine, OutcomeTag } from './verdict.js';

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
      {series !== undefined && (
        <>
          <SeriesHead series={series} chosen={chosen} />
          <SeriesChart points={pointsOf(series)} anomalies={anomalies} chosen={id} />
          {chosen !== undefined && <Judgement anomaly={chosen} feedback={feedback} />}
          {anomalies.length > 0 && (
            <Anomalies
              anomalies={anomalies}
              chosen={id}
              hasMore={page.value?.cursor !== undefined}
            />
          )}
          <Labels series={series} />
        </>
      )}
      <EquivalentCall path={path} />
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
          Not scored: <Name text={reason} lengthMax={300} />
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

/** Why, by both stages, and what people say of it. */
function Judgement({ anomaly, feedback }: { anomaly: Anomaly; feedback: readonly Feedback[] }) {
  const own = feedback.filter((entry) => entry.anomaly === anomaly.id);
  const { score, cause, state } = anomaly;
  return (
    <section aria-label="Why" class="actions">
      <h2>{state === 'open' ? 'Why it is flagged' : 'Why it was flagged'}</h2>
      {state !== 'open' && (
        <p>
          <Sentence text={anomaly.explanation} />
        </p>
      )}
      <dl class="pairs">
        <div>
          <dt>Forest</dt>
          <dd>
            score {scoreText(score)}, {CAUSE_WORDS[cause]}: {number(anomaly.value)} at{' '}
            <Time at={anomaly.peak} /> where {number(anomaly.lower)} to {number(anomaly.upper)} was
            expected
          </dd>
        </div>
        <div>
          <dt>Deep check</dt>
          <dd>
            <DeepCheckLine anomaly={anomaly} />
          </dd>
        </div>
        <IncidentLine id={anomaly.incident} />
      </dl>
      <p class="buttons">
        <FeedbackButtons anomalies={[anomaly.id]} />
        <CopyButton text={alertRule(anomaly)} label="Copy as alert rule" />
      </p>
      {own.map((entry) => (
        <p key={entry.id} class="spoken">
          <Tag kind="calm">{KIND_WORDS[entry.kind]}</Tag> said <Time at={entry.at} />
          {entry.expires !== null && (
            <>
              , holds until <Time at={entry.expires} />
            </>
          )}{' '}
          <button
            type="button"
            onClick={() => void takeBack(`/anomaly/v1/feedback/${encodeURIComponent(entry.id)}`)}
          >
            Take back
          </button>
        </p>
      ))}
    </section>
  );
}

/** What became of its incident: the part of the story that is not the series' own. */
function IncidentLine({ id }: { id: string | null }) {
  const path = id === null ? undefined : `/anomaly/v1/incidents/${encodeURIComponent(id)}`;
  const { value } = useLoaded<Incident>(path);
  if (value === undefined) return null;
  return (
    <div>
      <dt>Incident</dt>
      <dd>
        <a href={linkTo('incident', value.id)}>
          {value.series === 1 ? 'alone' : `${value.series} series`}
        </a>
        , <OutcomeTag outcome={value.notification} />
      </dd>
    </div>
  );
}

function Anomalies(list: {
  anomalies: readonly Anomaly[];
  chosen: string | undefined;
  hasMore: boolean;
}) {
  return (
    <section aria-label="Its anomalies">
      <h2>Its anomalies</h2>
      <ol class="rows">
        {list.anomalies.map((anomaly) => (
          <li key={anomaly.id}>
            <a
              class="row member plain"
              href={linkWith({ anomaly: anomaly.id })}
              {...(anomaly.id === list.chosen && { 'aria-current': 'true' as const })}
            >
              <span class={`score s${severity(anomaly.score)}`}>
                <b>{scoreText(anomaly.score)}</b>
              </span>
              <span class="what">
                <span>
                  <Time at={anomaly.onset} />{' '}
                  {anomaly.end === null ? 'and open' : lengthOf(anomaly.onset, anomaly.end)}{' '}
                  {anomaly.feedback !== null && <Tag kind="calm">{anomaly.feedback}</Tag>}
                </span>
                <span class="faint">{CAUSE_WORDS[anomaly.cause]}</span>
              </span>
              <span class="numbers">
                <span>
                  <b>{number(anomaly.value)}</b> for {number(anomaly.expected)}
                </span>
              </span>
            </a>
          </li>
        ))}
      </ol>
      {list.hasMore && <p class="faint">The newest {list.anomalies.length}.</p>}
    </section>
  );
}

function lengthOf(onset: string, end: string): string {
  const ms = Date.parse(end) - Date.parse(onset);
  return ms === 0 ? 'at one sample' : `for ${duration(ms)}`;
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
