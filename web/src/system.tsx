// System: what came in, what was left out and why, how far each partition is, what it costs, and when it was last saved.

import { bytes, duration, integer, number } from './format.js';
import { useLoaded } from './loaded.js';
import type { Partition, Status } from './rows.js';
import { EquivalentCall, Failure, Name, Tag, Time } from './text.js';
import { Told } from './told.js';

const PATH = '/anomaly/v1/status';
/** With fewer, a share of the process's memory says nothing of a series. */
const MANY_SERIES = 10_000;

export function SystemView() {
  const { value: status, error } = useLoaded<Status>(PATH, 2_000);
  return (
    <>
      <h1 class="headline">{status === undefined ? 'System' : headline(status)}</h1>
      <Failure error={error} />
      {status?.unreachable?.map(({ scorer, reason }) => (
        <p key={scorer} class="failure">
          <Name text={scorer} /> does not answer: <Name text={reason} />
        </p>
      ))}
      {status !== undefined && (
        <>
          <Facts status={status} />
          {status.samples !== undefined && <Refused rejected={status.samples.rejected} />}
          {status.partitions !== undefined && <Partitions partitions={status.partitions} />}
          <Told />
        </>
      )}
      <EquivalentCall paths={[PATH]} />
    </>
  );
}

function headline({ partitions, tenant }: Status): string {
  if (partitions === undefined) return tenant === undefined ? 'System' : `Tenant ${tenant}`;
  const lag = partitions.reduce((sum, partition) => sum + partition.lag, 0);
  if (partitions.length === 0) return 'No partition is scored here.';
  return lag === 0
    ? 'Everything that was received has been scored.'
    : `${integer(lag)} records wait to be scored.`;
}

function Facts({ status }: { status: Status }) {
  const { partitions = [], samples, memoryBytes, uptimeSeconds, version, roles } = status;
  const series = status.series ?? partitions.reduce((sum, partition) => sum + partition.series, 0);
  const scored = status.scored ?? partitions.reduce((sum, partition) => sum + partition.scored, 0);
  return (
    <dl class="strip">
      <Fact name="Series" value={integer(series)} note={`${integer(scored)} scored`} />
      {samples !== undefined && (
        <Fact
          name="Samples received"
          value={number(samples.received)}
          note="since the process began"
        />
      )}
      <Fact
        name="Anomalies kept"
        value={integer(status.anomalies)}
        note={status.incidents === undefined ? '' : `in ${integer(status.incidents)} incidents`}
      />
      {memoryBytes !== undefined && (
        <Fact
          name="Memory"
          value={bytes(memoryBytes)}
          note={
            scored < MANY_SERIES
              ? 'of the whole process'
              : `${bytes(memoryBytes / scored)} per series, all in`
          }
        />
      )}
      {uptimeSeconds !== undefined && (
        <Fact
          name="Running"
          value={duration(1000 * uptimeSeconds)}
          note={`version ${version ?? '?'}`}
        />
      )}
      {roles !== undefined && (
        <div>
          <dt>Roles</dt>
          <dd>
            {roles.map((role) => (
              <Tag key={role} kind="calm">
                {role}
              </Tag>
            ))}
          </dd>
        </div>
      )}
    </dl>
  );
}

function Fact({ name, value, note }: { name: string; value: string; note: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <b>{value}</b> {note}
      </dd>
    </div>
  );
}

function Refused({ rejected }: { rejected: Readonly<Record<string, number>> }) {
  const reasons = Object.entries(rejected)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a);
  return (
    <section aria-label="Left out on arrival">
      <h2>Left out on arrival</h2>
      {reasons.length === 0 ? (
        <p class="faint">Nothing: every sample that was received is in the log.</p>
      ) : (
        <dl class="pairs">
          {reasons.map(([reason, count]) => (
            <div key={reason}>
              <dt>
                <Name text={reason} />
              </dt>
              <dd>{integer(count)} samples</dd>
            </div>
          ))}
        </dl>
      )}
    </section>
  );
}

const OUTCOMES = ['applied', 'late', 'duplicate', 'conflict', 'refused', 'unscored'] as const;

function Partitions({ partitions }: { partitions: readonly Partition[] }) {
  return (
    <section aria-label="Partitions">
      <h2>Partitions</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys. */}
      <section class="scroll" tabIndex={0} aria-label="Table of partitions">
        <table>
          <thead>
            <tr>
              <th>Partition</th>
              <th>Series</th>
              <th>Lag</th>
              <th>Newest sample</th>
              <th>Saved</th>
              {OUTCOMES.map((outcome) => (
                <th key={outcome}>{outcome}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {partitions.map((partition) => (
              <tr key={partition.partition}>
                <td>{partition.partition}</td>
                <td>{integer(partition.series)}</td>
                <td class={partition.lag > 0 ? 'text-s2' : ''}>{integer(partition.lag)}</td>
                <td>
                  <Time at={partition.streamTimeMs} />
                </td>
                <td>
                  {partition.checkpoint === undefined || partition.checkpoint === null
                    ? 'never'
                    : `${duration(1000 * partition.checkpoint.ageSeconds)} ago`}
                </td>
                {OUTCOMES.map((outcome) => (
                  <td key={outcome}>{integer(partition.outcomes[outcome] ?? 0)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <p class="faint">
        Records and samples of each; late, duplicate and conflicting samples are counted and not
        learnt.
      </p>
    </section>
  );
}
