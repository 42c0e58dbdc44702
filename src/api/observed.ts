// The api's own metrics, read from those who count.

import type { Metrics } from '../metrics.js';
import type { AlertSender } from './alertmanager.js';
import type { AnomaliesTopic } from './anomalies-topic.js';
import type { EventStream } from './stream.js';
import type { Timeline } from './timeline.js';

export function observeApi(
  metrics: Metrics,
  counted: {
    timeline: Timeline;
    stream: EventStream;
    alerts: AlertSender;
    topic?: AnomaliesTopic;
  },
): void {
  const { timeline, stream, alerts, topic } = counted;
  const { notices } = timeline;
  const counter = (name: string, help: string, read: () => number) =>
    metrics.observe('counter', { name, help }, () => [{ labels: {}, value: read() }]);
  const gauge = (name: string, help: string, read: () => number) =>
    metrics.observe('gauge', { name, help }, () => [{ labels: {}, value: read() }]);
  counter('treeline_incidents_total', 'Incidents begun', () => timeline.incidentCount);
  gauge('treeline_anomalies_kept', 'Anomalies kept for queries', () => timeline.anomalies.count);
  gauge(
    'treeline_alert_budget_ratio',
    'Incidents notified in the last day of stream time, as a share of alerts.budget',
    () => {
      const { budget } = notices.settings;
      const count = notices.notifiedWithin(1, timeline.nowMs);
      return budget === 0 ? 0 : count / budget;
    },
  );
  counter(
    'treeline_alert_budget_held_total',
    'Incidents not notified because the budget was spent on others',
    () => notices.heldCount,
  );
  counter(
    'treeline_verdicts_unmatched_total',
    'Verdicts that the api dropped because it knew no anomaly for them and others came after',
    () => timeline.anomalies.early.droppedCount,
  );
  metrics.observe(
    'counter',
    {
      name: 'treeline_alerts_total',
      help: 'Alerts sent to Alertmanagers, repetitions among them, by what became of them',
      labels: ['outcome'],
    },
    () => Object.entries(alerts.counts).map(([outcome, value]) => ({ labels: { outcome }, value })),
  );
  if (topic !== undefined) {
    counter(
      'treeline_anomaly_records_total',
      'Records appended to the topic of anomalies',
      () => topic.count,
    );
  }
  gauge('treeline_stream_readers', 'Readers of /anomaly/v1/stream', () => stream.clientCount);
  counter(
    'treeline_stream_dropped_total',
    'Readers of /anomaly/v1/stream let go because they did not keep up',
    () => stream.droppedCount,
  );
}
