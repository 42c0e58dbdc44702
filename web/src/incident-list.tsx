// The incidents of one list, each a row that leads to its story; and where there are none, what else can be looked at.

import { duration, plural, scoreText, severity } from './format.js';
import { linkTo, linkWith } from './route.js';
import type { Incident, IncidentPage } from './rows.js';
import { Ago, Empty, Name, Sentence } from './text.js';
import { nowMs } from './ticks.js';
import { OutcomeTag } from './verdict.js';

export const LISTS = {
  open: { title: 'Open', query: 'state=open&order=rank' },
  closed: { title: 'Closed', query: 'state=closed&order=time' },
  held: { title: 'Held back', query: 'notification=held&order=time' },
} as const;
export type ListName = keyof typeof LISTS;

export function IncidentList(list: {
  page: IncidentPage | undefined;
  show: ListName;
  match: string;
}) {
  const { page, show, match } = list;
  if (page === undefined) return null;
  if (page.incidents.length === 0) {
    return (
      <Empty>
        {match !== '' ? (
          <>
            Nothing matches <Name text={match} />.
          </>
        ) : show === 'open' ? (
          <>
            Nothing is open. <a href={linkWith({ show: 'closed' })}>What was before</a>, or{' '}
            <a href={linkTo('series')}>what is watched</a>.
          </>
        ) : show === 'held' ? (
          <>
            The budget has held nothing back. How many a day somebody is told of is{' '}
            <code>alerts.budget</code>.
          </>
        ) : (
          <>
            No incident has ended yet. What would have been one in the past is told by{' '}
            <code>npx treeline backtest --prometheus URL --query Q --start 7d</code>
          </>
        )}
      </Empty>
    );
  }
  return (
    <>
      <ol class="rows">
        {page.incidents.map((incident) => (
          <li key={incident.id}>
            <IncidentRow incident={incident} />
          </li>
        ))}
      </ol>
      {page.cursor !== undefined && (
        <p class="faint">The first {page.incidents.length}; a selector above narrows them down.</p>
      )}
    </>
  );
}

function IncidentRow({ incident }: { incident: Incident }) {
  const { id, score, explanation, entities, series, notification, start, end, state } = incident;
  const level = severity(score);
  return (
    <a class="row incident" href={linkTo('incident', id)}>
      <span class={`score s${level}`}>
        <b>{scoreText(score)}</b>
      </span>
      <span class="what">
        <span class="clamp">
          <Sentence text={explanation} />
        </span>
        <span class="faint entities">
          {plural(series, 'series', 'series')}
          {entities.slice(0, 3).map((entity) => (
            <Name key={entity} text={entity} lengthMax={48} />
          ))}
          {entities.length > 3 && <span>and {entities.length - 3} more</span>}
        </span>
      </span>
      <span class="when">
        <OutcomeTag outcome={notification} />
        <span class="faint">
          {state === 'open' ? (
            <>for {duration(nowMs.value - Date.parse(start))}</>
          ) : (
            <>
              ended <Ago at={end ?? start} />
            </>
          )}
        </span>
      </span>
    </a>
  );
}
