// What is copied to be used elsewhere: a Prometheus rule that fires while a series is flagged, and an Alertmanager silence.

import { selectorOf } from './format.js';
import type { Anomaly, Story } from './rows.js';

/** YAML of one rule group. The flag carries the labels of its series, and the metric's name as source_metric. */
export function alertRule(anomaly: Anomaly): string {
  const { __name__: metric = '', ...others } = anomaly.labels;
  const selector = selectorOf({ ...others, ...(metric !== '' && { source_metric: metric }) });
  const quoted = JSON.stringify(`anomaly_flag${selector} == 1`);
  return `groups:
  - name: treeline
    rules:
      - alert: Anomaly
        expr: ${quoted}
        for: 1m
        labels: { severity: warning }
        annotations:
          summary: ${JSON.stringify(`{{ $labels.source_metric }} is unusual`)}
          dashboard: ${JSON.stringify(location.href)}
`;
}

/** For one incident; its alerts are named by the anomaly that began it. */
export function silenceCommand(story: Story): string {
  const comment = `Treeline incident ${story.id}`;
  return `amtool silence add --duration=4h --comment=${shell(comment)} ${shell('alertname="Anomaly"')} ${shell(`incident="${story.id}"`)}`;
}

function shell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
