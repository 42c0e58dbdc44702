// A report as text for a terminal: first the answer in three sentences, then what it is made of. Every proposal is
// something that can be pasted: a request of feedback, or a setting.

import type { Report } from './report.js';

export function reportText(report: Report, url: string): string {
  const { firings, alerts, incidents, noisiest, anomalies } = report;
  const lines = [`From ${report.start} to ${report.end}`, '', ...summary(report)];
  if (alerts.length > 0) {
    lines.push(
      '',
      'Alerts                                     firings  before  after  none  median lead',
    );
    for (const { alert, leadSeconds, ...row } of alerts) {
      const counts = [pad(row.firings, 7), pad(row.before, 6), pad(row.after, 5), pad(row.none, 4)];
      const lead = leadSeconds === null ? '-' : length(leadSeconds.median);
      lines.push(`  ${alert.slice(0, 40).padEnd(40)} ${counts.join('  ')}  ${lead}`);
    }
  }
  if (incidents.unalerted.length > 0) {
    lines.push('', 'Incidents that no alert spoke of, highest rank first');
    for (const { id, start, rank, notification, explanation } of incidents.unalerted) {
      lines.push(`  ${start}  ${id}  rank ${number(rank)}  ${notification}`, `    ${explanation}`);
    }
  }
  if (noisiest.length > 0) lines.push('', `Noisiest of the series with ${anomalies} anomalies`);
  for (const noisy of noisiest) {
    lines.push(`  ${pad(noisy.anomalies, 5)}  ${percent(noisy.share)}  ${noisy.series}`);
  }
  const [first] = noisiest;
  if (first !== undefined) lines.push('', ...quieter(first, url));
  if (firings.withoutEntity + firings.beganEarlier > 0) {
    lines.push(
      '',
      `Left out: ${firings.withoutEntity} firings without a label of an entity, ` +
        `${firings.beganEarlier} that had begun before.`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function summary({ firings, incidents, windowSeconds }: Report): string[] {
  const { leadSeconds, byChance, before, after, none } = firings;
  const held = `${incidents.held} of ${incidents.total} incidents were held back by alerts.budget.`;
  const unseen = `${incidents.withoutAlert} of ${incidents.total} incidents had no alert.`;
  if (firings.firings === 0) return ['No alert of yours fired on an entity.', unseen, held];
  const share = percent(before / firings.firings);
  const lead =
    leadSeconds === null
      ? ''
      : ` Lead: median ${length(leadSeconds.median)}, from ${length(leadSeconds.p10)} to ${length(leadSeconds.p90)}.`;
  return [
    `${before} of ${firings.firings} firings (${share}) had an anomaly on the same entity before, within ` +
      `${length(windowSeconds)}; by chance it would be ${percent(byChance ?? 0)}.${lead}`,
    `${after} had one only after they had begun, ${none} had none.`,
    unseen,
    held,
  ];
}

function quieter({ highest, drop }: { highest: string; drop: string }, url: string): string[] {
  const { origin, pathname } = new URL(url);
  const address = `${origin}${pathname.replace(/\/+$/, '')}/anomaly/v1/feedback`;
  const body = JSON.stringify({ kind: 'false-alarm', anomaly: highest });
  return [
    'To hear no more of the first one: say that it was a false alarm,',
    `  curl -s ${address} -H 'Content-Type: application/json' -d '${body}'`,
    'or leave the series out (treeline.yaml, then reload):',
    `  ingest: { drop: [${JSON.stringify(drop)}] }`,
  ];
}

function length(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function number(value: number | null): string {
  return value === null ? 'unbounded' : value.toPrecision(3);
}

function pad(value: number, width: number): string {
  return String(value).padStart(width);
}
