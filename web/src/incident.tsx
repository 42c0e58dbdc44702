// One incident: the sentence first, then who moved when, then what can be done about it. The rows are its anomalies, the
// first mover on top until they are ranked otherwise, each with its place on one axis of time.

import { useEffect } from 'preact/hooks';
import { SPOKEN_OF_MAX, speakOf } from './actions.js';
import {
  clock,
  duration,
  integer,
  number,
  plural,
  scoreText,
  selectorOf,
  severity,
} from './format.js';
import { IncidentActions } from './incident-actions.js';
import { useLoaded } from './loaded.js';
import { linkTo, linkWith, route } from './route.js';
import type { Anomaly, Story } from './rows.js';
import { EquivalentCall, Failure, Name, Sentence, Tag, Time } from './text.js';
import { nowMs } from './ticks.js';
import { CAUSE_WORDS, OutcomeTag, VerdictTag } from './verdict.js';

/** Before somebody asks for all of them. */
const ROWS = 12;
const ROWS_MAX = 200;

export function IncidentView({ id }: { id: string }) {
  const path = `/anomaly/v1/incidents/${encodeURIComponent(id)}`;
  const { value: story, error } = useLoaded<Story>(path);
  const spokenOf = (story?.members ?? []).map((anomaly) => anomaly.id).slice(0, SPOKEN_OF_MAX);
  const key = spokenOf.join();
  // The ids are what it depends on.
  useEffect(() => speakOf(spokenOf), [key]);
  return (
    <>
      <p class="crumbs">
        <a href={linkTo('now')}>Now</a> › Incident
      </p>
      {story === undefined && error?.status === 404 ? (
        <p class="empty">
          No such incident is known here. It may have been forgotten after{' '}
          <code>anomalies.retention</code>.
        </p>
      ) : (
        <Failure error={error} />
      )}
      {story !== undefined && (
        <>
          <h1 class="headline sentence">
            <Sentence text={story.explanation} />
          </h1>
          <Facts story={story} />
          <Members story={story} />
          <IncidentActions story={story} spokenOf={spokenOf} />
        </>
      )}
      <EquivalentCall paths={[path]} />
    </>
  );
}

function Facts({ story }: { story: Story }) {
  const { state, start, end, score, series, notification, firstMover } = story;
  const endMs = end === null ? nowMs.value : Date.parse(end);
  return (
    <dl class="strip">
      <div>
        <dt>{state === 'open' ? 'Open since' : 'Lasted'}</dt>
        <dd>
          <b>
            <Time at={start} />
          </b>{' '}
          {duration(endMs - Date.parse(start))}
        </dd>
      </div>
      <div>
        <dt>Highest score</dt>
        <dd>
          <b class={`text-s${severity(score)}`}>{scoreText(score)}</b> 1 is the threshold
        </dd>
      </div>
      <div>
        <dt>First mover</dt>
        <dd>
          <b>
            <Name
              text={firstMover.entity === '' ? firstMover.series : firstMover.entity}
              lengthMax={60}
            />
          </b>
        </dd>
      </div>
      <div>
        <dt>Reach</dt>
        <dd>
          <b>{integer(series)}</b> series of{' '}
          {plural(new Set(story.entities).size, 'entity', 'entities')}
        </dd>
      </div>
      <div>
        <dt>Deep check</dt>
        <dd>{verdictsOf(story.members)}</dd>
      </div>
      <div>
        <dt>Notification</dt>
        <dd>
          <OutcomeTag outcome={notification} />
        </dd>
      </div>
    </dl>
  );
}

/** Also that nothing was looked at a second time. */
function verdictsOf(members: readonly Anomaly[]): string {
  const counts = new Map<string, number>();
  for (const { verdict } of members) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  if (counts.size === 1)
    return members.length === 1 ? `${members[0]?.verdict}` : `all ${members[0]?.verdict}`;
  return [...counts].map(([verdict, count]) => `${integer(count)} ${verdict}`).join(', ');
}

function Members({ story }: { story: Story }) {
  const order = route.value.query['order'] === 'score' ? 'score' : 'time';
  const { members } = story;
  const sorted =
    order === 'time' ? members : members.toSorted((a, b) => (b.score ?? 0) - (a.score ?? 0));
  const isWhole = route.value.query['all'] === '1';
  const shown = sorted.slice(0, isWhole ? ROWS_MAX : ROWS);
  const ends = members.map(({ end }) => (end === null ? nowMs.value : Date.parse(end)));
  const fromMs = Date.parse(story.start);
  // So that a single moment has a width, too.
  const untilMs = Math.max(fromMs + 60_000, ...ends);
  return (
    <section aria-label="Related series">
      <div class="bar">
        <h2>{plural(members.length, 'anomaly', 'anomalies')}</h2>
        <nav class="tabs" aria-label="Order">
          <a
            href={linkWith({ order: undefined })}
            {...(order === 'time' && { 'aria-current': 'true' as const })}
          >
            who moved first
          </a>
          <a
            href={linkWith({ order: 'score' })}
            {...(order === 'score' && { 'aria-current': 'true' as const })}
          >
            highest score
          </a>
        </nav>
      </div>
      <ol class="rows">
        {shown.map((anomaly) => (
          <li key={anomaly.id}>
            <MemberRow
              anomaly={anomaly}
              span={{ fromMs, untilMs }}
              isFirst={anomaly.id === story.firstMover.anomaly}
            />
          </li>
        ))}
      </ol>
      <p class="span-axis faint">
        <span>{clock(fromMs)}</span>
        <span>{story.state === 'open' ? 'now' : clock(untilMs)}</span>
      </p>
      {sorted.length > shown.length &&
        (isWhole ? (
          <p class="faint">And {integer(sorted.length - shown.length)} more.</p>
        ) : (
          <p>
            <a href={linkWith({ all: '1' })}>Show all {integer(sorted.length)}</a>
          </p>
        ))}
    </section>
  );
}

function MemberRow(row: {
  anomaly: Anomaly;
  span: { fromMs: number; untilMs: number };
  isFirst: boolean;
}) {
  const { anomaly, span, isFirst } = row;
  const { labels, score, value, expected, onset, end, factor, feedback } = anomaly;
  const metric = labels['__name__'] ?? '';
  const { __name__: _metric, ...others } = labels;
  const length = span.untilMs - span.fromMs;
  const onsetMs = Date.parse(onset);
  const endMs = end === null ? span.untilMs : Date.parse(end);
  const left = (100 * (onsetMs - span.fromMs)) / length;
  const width = Math.max(1, (100 * (endMs - onsetMs)) / length);
  const level = severity(score);
  return (
    <a class="row member" href={linkTo('series', anomaly.fingerprint, { anomaly: anomaly.id })}>
      <span class={`score s${level}`}>
        <b>{scoreText(score)}</b>
      </span>
      <span class="what">
        <span>
          <b>
            <Name text={metric === '' ? selectorOf(others) : metric} lengthMax={60} />
          </b>{' '}
          {isFirst && <Tag kind="first">first mover</Tag>} <VerdictTag verdict={anomaly.verdict} />{' '}
          {feedback !== null && <Tag kind="calm">{feedback}</Tag>}
        </span>
        <span class="faint">
          <Name text={labelLine(others)} lengthMax={110} />
        </span>
      </span>
      <span class="numbers">
        <span>
          <b>{number(value)}</b> for {number(expected)}
        </span>
        <span class="faint">
          {factor === null
            ? CAUSE_WORDS[anomaly.cause]
            : `${Number(factor.toPrecision(2))} × expected`}
        </span>
      </span>
      <span class="span" aria-hidden="true">
        <span
          class={`s${level}`}
          style={{ left: `${Math.min(99, left)}%`, width: `${Math.min(width, 100 - left)}%` }}
        />
      </span>
      <span class="offset faint">+{duration(onsetMs - span.fromMs)}</span>
    </a>
  );
}

function labelLine(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join('  ');
}
