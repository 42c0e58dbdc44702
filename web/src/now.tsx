// Now: the sentence that answers "is anything wrong", what is open, ranked, what the budget held back, and the lanes that
// show when and where. Without any series it shows how to send some instead.

import { useEffect } from 'preact/hooks';
import { DemoBar } from './demo-bar.js';
import { duration, integer, plural } from './format.js';
import { IncidentList, LISTS, type ListName } from './incident-list.js';
import { Lanes } from './lanes.js';
import { useLoaded } from './loaded.js';
import { linkWith, route } from './route.js';
import type { Incident, IncidentPage, Status } from './rows.js';
import { Search } from './search.js';
import { Setup } from './setup.js';
import { EquivalentCall, Failure, Tag } from './text.js';
import { nowMs } from './ticks.js';
import { MutedNow } from './told.js';
import { isAllWarming, useWarming, type Warming, WarmUp } from './warm-up.js';

const ROWS = 50;
/** More than this is said as more than this. */
const HELD_MAX = 100;
/** What has never been seen newer than this is history, and lanes end where it ends. */
const HISTORY_MS = 36e5;

export function NowView() {
  const { query } = route.value;
  const chosen = query['show'] ?? 'open';
  const show: ListName = Object.hasOwn(LISTS, chosen) ? (chosen as ListName) : 'open';
  const match = query['match'] ?? '';
  const suffix = match === '' ? '' : `&match[]=${encodeURIComponent(match)}`;
  const path = `/anomaly/v1/incidents?${LISTS[show].query}&limit=${ROWS}${suffix}`;
  const open = `/anomaly/v1/incidents?${LISTS.open.query}&limit=${ROWS}${suffix}`;
  const status = useLoaded<Status>('/anomaly/v1/status', 5_000);
  const opened = useLoaded<IncidentPage>(open);
  const listed = useLoaded<IncidentPage>(show === 'open' ? undefined : path);
  const list = show === 'open' ? opened : listed;
  const warming = useWarming(status.value !== undefined && opened.value !== undefined);
  if (status.value !== undefined && isUnfed(status.value) && opened.value?.incidents.length === 0) {
    return <Setup status={status.value} />;
  }
  return (
    <>
      {status.value?.demo === true && <DemoBar />}
      <Headline
        incidents={opened.value?.incidents}
        hasMore={opened.value?.cursor !== undefined}
        isNarrowed={match !== ''}
        isWarming={isAllWarming(warming)}
      />
      <Failure error={list.error ?? status.error} />
      {status.value !== undefined && <Strip status={status.value} warming={warming} />}
      <section aria-label="Incidents">
        <div class="bar">
          <nav class="tabs" aria-label="Which incidents">
            {(Object.keys(LISTS) as ListName[]).map((name) => (
              <a
                key={name}
                href={linkWith({ show: name === 'open' ? undefined : name })}
                {...(name === show && { 'aria-current': 'true' as const })}
              >
                {LISTS[name].title}
              </a>
            ))}
          </nav>
          <Search placeholder={'{pod="checkout-1"}'} />
        </div>
        <IncidentList page={list.value} show={show} match={match} />
      </section>
      <Lanes match={match} endMs={endOf(status.value)} />
      <EquivalentCall paths={[path]} />
    </>
  );
}

function Headline(headline: {
  incidents: Incident[] | undefined;
  hasMore: boolean;
  isNarrowed: boolean;
  isWarming: boolean;
}) {
  const { incidents, hasMore, isNarrowed, isWarming } = headline;
  const open = incidents?.length ?? 0;
  useEffect(() => {
    document.title = open === 0 ? 'Treeline' : `${open}${hasMore ? '+' : ''} open · Treeline`;
    return () => {
      document.title = 'Treeline';
    };
  }, [open, hasMore]);
  if (incidents === undefined) return <h1 class="headline faint">Asking …</h1>;
  if (incidents.length === 0) {
    return (
      <h1 class="headline">
        {isWarming
          ? 'Warming up: nothing can be flagged yet.'
          : isNarrowed
            ? 'No open incident matches.'
            : 'All calm: no incident is open.'}
      </h1>
    );
  }
  const notified = incidents.filter(({ notification }) => notification === 'notified').length;
  const count = hasMore
    ? `More than ${incidents.length} incidents are`
    : plural(incidents.length, 'incident is', 'incidents are');
  const told = notified === 0 ? 'nobody was notified' : `${integer(notified)} notified`;
  return (
    <h1 class="headline">
      {count} open, {told}.
    </h1>
  );
}

/** Budget, warm-up and freshness: what has to be known to believe the headline. */
function Strip({ status, warming }: { status: Status; warming: Warming | undefined }) {
  const { alerts, partitions = [] } = status;
  const newest = Math.max(...partitions.map(({ streamTimeMs }) => streamTimeMs ?? -Infinity));
  const scored = partitions.reduce((sum, partition) => sum + partition.scored, 0);
  return (
    <dl class="strip">
      {alerts !== undefined && (
        <div>
          <dt>Alert budget</dt>
          <dd>
            <Budget spent={alerts.notifiedLastDay} budget={alerts.budget} />
            <b>{alerts.notifiedLastDay}</b> notified in a day, about {alerts.budget} are meant
            {alerts.isShadow && <Tag kind="calm">shadow: nobody is notified yet</Tag>}
          </dd>
        </div>
      )}
      {alerts !== undefined && (
        <div>
          <dt>Last seven days</dt>
          <dd>
            <b>{alerts.notifiedLastWeek}</b> notified
          </dd>
        </div>
      )}
      <div>
        <dt>Series</dt>
        <dd>
          <b>{integer(status.scored ?? scored)}</b> scored <WarmUp found={warming} />
        </dd>
      </div>
      <HeldBack />
      <MutedNow />
      {Number.isFinite(newest) && (
        <div>
          <dt>Newest sample</dt>
          <dd>
            <b>{duration(nowMs.value - newest)}</b> ago
          </dd>
        </div>
      )}
    </dl>
  );
}

/** Of the last day, to the hour. */
function HeldBack() {
  const start = Math.floor(Date.now() / 36e5) * 3600 - 86_400;
  const path = `/anomaly/v1/incidents?notification=held&start=${start}&limit=${HELD_MAX}`;
  const { value } = useLoaded<IncidentPage>(path);
  if (value === undefined) return null;
  const { incidents, cursor } = value;
  return (
    <div>
      <dt>Held back in a day</dt>
      <dd>
        <a href={linkWith({ show: 'held' })}>
          {cursor === undefined ? incidents.length : `more than ${HELD_MAX}`}
        </a>
      </dd>
    </div>
  );
}

/** Also what is over it is shown: a day may take twice the budget, a week may not. */
function Budget({ spent, budget }: { spent: number; budget: number }) {
  const share = budget === 0 ? 1 : Math.min(1, spent / budget);
  return (
    <span class="budget" aria-hidden="true">
      <span class={spent > budget ? 'over' : ''} style={{ width: `${100 * share}%` }} />
    </span>
  );
}

function isUnfed({ partitions, samples, series }: Status): boolean {
  if (partitions === undefined) return series === 0;
  return (samples?.received ?? 0) === 0 && partitions.every((partition) => partition.series === 0);
}

/** Where the lanes end: now, or where history ends that nothing was added to for long. */
function endOf(status: Status | undefined): number | undefined {
  if (status === undefined) return undefined;
  const newest = Math.max(
    ...(status.partitions ?? []).map(({ streamTimeMs }) => streamTimeMs ?? -Infinity),
  );
  return Number.isFinite(newest) && Date.now() - newest > HISTORY_MS ? newest : Date.now();
}
