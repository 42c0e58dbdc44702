// Why a series is or was flagged, by both stages, with what people said of it; and all of its anomalies, each of which may
// be chosen.

import { FeedbackButtons, KIND_WORDS, takeBack } from './actions.js';
import { duration, number, scoreText, severity } from './format.js';
import { useLoaded } from './loaded.js';
import { linkTo, linkWith } from './route.js';
import type { Anomaly, Feedback, Incident } from './rows.js';
import { alertRule } from './snippets.js';
import { CopyButton, Sentence, Tag, Time } from './text.js';
import { CAUSE_WORDS, DeepCheckLine, OutcomeTag } from './verdict.js';

/** Why, by both stages, and what people say of it. */
export function Judgement({
  anomaly,
  feedback,
}: {
  anomaly: Anomaly;
  feedback: readonly Feedback[];
}) {
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
            expected{anomaly.young && '; known for less than a day, so the score counts half'}
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

export function OwnAnomalies(list: {
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
