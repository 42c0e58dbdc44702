// What people have told Treeline and is in force: maintenance windows and feedback, each with its way back. Here it is
// found again when the bar that said so has long been closed.

import { KIND_WORDS, takeBack } from './actions.js';
import { plural } from './format.js';
import { useLoaded } from './loaded.js';
import { linkTo } from './route.js';
import type { Feedback, Maintenance } from './rows.js';
import { Name, Tag, Time } from './text.js';

/** The newest of each; the routes list all. */
const SHOWN = 20;

const MAINTENANCE = '/anomaly/v1/maintenance';
const FEEDBACK = '/anomaly/v1/feedback';

export function Told() {
  const windows = useLoaded<{ maintenance: Maintenance[] }>(MAINTENANCE).value?.maintenance ?? [];
  const feedback = useLoaded<{ feedback: Feedback[] }>(FEEDBACK).value?.feedback ?? [];
  return (
    <section aria-label="What people have said">
      <h2>What people have said</h2>
      {windows.length + feedback.length === 0 && (
        <p class="faint">
          Nothing is in force: no maintenance window and no feedback. Both are given where an
          incident or a series is shown.
        </p>
      )}
      <ul class="told">
        {windows.slice(-SHOWN).map((entry) => (
          <li key={entry.id}>
            <Window entry={entry} />
          </li>
        ))}
        {feedback.slice(-SHOWN).map((entry) => (
          <li key={entry.id}>
            <Word entry={entry} />
          </li>
        ))}
      </ul>
      {Math.max(windows.length, feedback.length) > SHOWN && (
        <p class="faint">
          The newest of {plural(windows.length, 'window')} and {plural(feedback.length, 'word')}.
        </p>
      )}
    </section>
  );
}

/** Whoever wonders why nobody was told. */
export function MutedNow() {
  const windows = useLoaded<{ maintenance: Maintenance[] }>(MAINTENANCE).value?.maintenance ?? [];
  const active = windows.filter(({ active: isActive, mute }) => isActive && mute);
  if (active.length === 0) return null;
  return (
    <div>
      <dt>Muted</dt>
      <dd>
        <a href={linkTo('system')}>{plural(active.length, 'maintenance window')}</a>
      </dd>
    </div>
  );
}

function Window({ entry }: { entry: Maintenance }) {
  const { id, match, mute, noLearn, start, end, weekly, active, comment } = entry;
  const effects = [mute && 'nobody is notified', noLearn && 'nothing is learnt'];
  return (
    <>
      <Tag kind="calm">{active ? 'in force' : 'not now'}</Tag> {effects.filter(Boolean).join(', ')}{' '}
      of{' '}
      <code>
        <Name text={match.join(' or ')} />
      </code>
      {weekly !== null &&
        ` every ${weekly.days.join(', ')} ${weekly.from} to ${weekly.to} ${weekly.timezone}`}
      {weekly === null && start !== null && (
        <>
          {' '}
          from <Time at={start} />
        </>
      )}
      {end !== null && (
        <>
          {' '}
          until <Time at={end} />
        </>
      )}{' '}
      {comment !== '' && (
        <span class="faint">
          <Name text={comment} />
        </span>
      )}{' '}
      <TakeBack path={`${MAINTENANCE}/${encodeURIComponent(id)}`} />
    </>
  );
}

function Word({ entry }: { entry: Feedback }) {
  const { id, kind, anomaly, match, at, expires } = entry;
  return (
    <>
      <Tag kind="calm">{KIND_WORDS[kind]}</Tag> of{' '}
      {anomaly === null ? (
        <code>
          <Name text={match.join(' or ')} />
        </code>
      ) : (
        <a href={linkTo('series', anomaly.slice(0, 16), { anomaly })}>an anomaly</a>
      )}
      , said <Time at={at} />
      {expires !== null && (
        <>
          , until <Time at={expires} />
        </>
      )}{' '}
      <TakeBack path={`${FEEDBACK}/${encodeURIComponent(id)}`} />
    </>
  );
}

function TakeBack({ path }: { path: string }) {
  return (
    <button type="button" onClick={() => void takeBack(path)}>
      Take back
    </button>
  );
}
