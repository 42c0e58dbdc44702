// What fires now: the incidents that were notified while they were news, are open, and not silenced since; and of those,
// what has ended lately. An alert has the labels that were stored with the decision; only its annotations follow the
// incident.

import { type Notice, Outcome } from '../gen/anomaly_pb.js';
import type { Alert, EndedAlert } from './alertmanager.js';
import { endOf, firstOf, type Incident, isOpen } from './incidents.js';
import { incidentRow } from './rows.js';
import type { Timeline } from './timeline.js';

export function firingAlerts(timeline: Timeline): Alert[] {
  const { notices, nowMs } = timeline;
  const alerts: Alert[] = [];
  for (const { notice, incident } of sentIncidents(timeline)) {
    if (!isOpen(incident)) continue;
    const isLoud = notices.loud(incident, nowMs).some(({ endMs }) => endMs === undefined);
    if (isLoud) alerts.push(alertOf(notice, incident, timeline));
  }
  return alerts;
}

export function endedAlerts(timeline: Timeline, sinceMs: number): EndedAlert[] {
  const ended: EndedAlert[] = [];
  for (const { notice, incident } of sentIncidents(timeline)) {
    const endsMs = endOf(incident);
    if (endsMs === undefined || endsMs < sinceMs) continue;
    ended.push({ alert: alertOf(notice, incident, timeline), endsMs });
  }
  return ended;
}

function* sentIncidents(timeline: Timeline): Iterable<{ notice: Notice; incident: Incident }> {
  const { notices, anomalies } = timeline;
  for (const notice of notices.notified()) {
    if (!notice.isSent) continue;
    const anomaly = anomalies.find(notice.anomalyId);
    const incident = anomaly && timeline.incidentOf(anomaly.id, anomaly.tenant);
    if (incident === undefined) continue;
    // An incident that has become part of another one is told of under that one's name.
    const own = notices.of(incident);
    if (own?.outcome !== Outcome.NOTIFIED || own.anomalyId !== notice.anomalyId) continue;
    yield { notice, incident };
  }
}

function alertOf(notice: Notice, incident: Incident, timeline: Timeline): Alert {
  const row = incidentRow(incident, timeline);
  return {
    key: notice.anomalyId,
    labels: Object.fromEntries(notice.label.map(({ name, value }) => [name, value])),
    annotations: {
      summary: row.explanation,
      score: String(row.score),
      series: String(row.series),
      entities: row.entities.join(', '),
    },
    startsMs: firstOf(incident).onsetMs,
  };
}
