// What fires now: the incidents that were notified while they were news, are open, and not silenced since. An alert has
// the labels that were stored with the decision; only its annotations follow the incident.

import { Outcome } from '../gen/anomaly_pb.js';
import type { Alert } from './alertmanager.js';
import { firstOf, isOpen } from './incidents.js';
import { incidentRow } from './rows.js';
import type { Timeline } from './timeline.js';

export function firingAlerts(timeline: Timeline): Alert[] {
  const alerts: Alert[] = [];
  const { notices, anomalies, nowMs } = timeline;
  for (const notice of notices.notified()) {
    if (!notice.isSent) continue;
    const anomaly = anomalies.find(notice.anomalyId);
    const incident = anomaly && timeline.incidentOf(anomaly.id, anomaly.tenant);
    if (incident === undefined || !isOpen(incident)) continue;
    // An incident that has become part of another one is told of under that one's name.
    const own = notices.of(incident);
    if (own?.outcome !== Outcome.NOTIFIED || own.anomalyId !== notice.anomalyId) continue;
    const isLoud = notices.loud(incident, nowMs).some(({ endMs }) => endMs === undefined);
    if (!isLoud) continue;
    const row = incidentRow(incident, timeline);
    alerts.push({
      key: notice.anomalyId,
      labels: Object.fromEntries(notice.label.map(({ name, value }) => [name, value])),
      annotations: {
        summary: row.explanation,
        score: String(row.score),
        series: String(row.series),
        entities: row.entities.join(', '),
      },
      startsMs: firstOf(incident).onsetMs,
    });
  }
  return alerts;
}
