// What is copied to be used elsewhere: a Prometheus rule that fires while a series is flagged, an Alertmanager silence, and
// the requests that give feedback and maintenance windows.

import { selectorOf } from './format.js';
import type { Anomaly, FeedbackKind, Story } from './rows.js';

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

/** For the next four hours from when it is run; the token of who runs it is theirs to add. */
export function maintenanceCommand(selector: string, comment: string): string {
  const body = { match: [selector], mute: true, end: END, comment };
  // The shell says when it ends: `date` of GNU and of BSD both know +%s.
  const written = shell(JSON.stringify(body)).replace(END, `'"$(($(date +%s) + 14400))"'`);
  return post('maintenance', written);
}

export function feedbackCommand(kind: FeedbackKind, anomaly: string): string {
  return post('feedback', shell(JSON.stringify({ kind, anomaly })));
}

function post(route: string, body: string): string {
  const address = `${location.origin}/anomaly/v1/${route}`;
  return `curl -s -X POST -H 'Content-Type: application/json' -d ${body} ${shell(address)}`;
}

/** Stands where the time is put in; no label holds it. */
const END = '\uE000';

function shell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
