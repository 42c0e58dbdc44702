// Anomalies, incidents, feedback and maintenance windows as the REST answers show them.

import type { Outcome } from '../gen/anomaly_pb.js';
import { FeedbackKind } from '../gen/control_pb.js';
import { PAGE_ROWS_MAX } from '../limits.js';
import { seriesText } from '../series.js';
import type { Anomaly } from './anomalies.js';
import { type FeedbackEntry, isActive, type MaintenanceEntry } from './control.js';
import { explain, factorOf, plain, time } from './explain.js';
import { endOf, firstOf, type Incident, incidentId } from './incidents.js';
import {
  type AnomalyRow,
  DAYS,
  type FeedbackRow,
  type IncidentRow,
  KINDS,
  type MaintenanceRow,
  OUTCOMES,
} from './rest-schemas.js';
import type { Timeline } from './timeline.js';
import type { AnomalyVerdict } from './verdicts.js';

const ENTITIES_SHOWN = 20;

export function anomalyRow(anomaly: Anomaly, timeline: Timeline): AnomalyRow {
  const { id, tenant, fingerprint, labels, endMs, cause } = anomaly;
  const incident = timeline.incidentOf(id, tenant);
  const said = timeline.control.saidOf(anomaly);
  return {
    id,
    series: seriesText(labels),
    labels: Object.fromEntries(labels.map(({ name, value }) => [name, value])),
    fingerprint,
    state: endMs === undefined ? 'open' : 'closed',
    onset: time(anomaly.onsetMs),
    peak: time(anomaly.peakMs),
    end: endMs === undefined ? null : time(endMs),
    score: finite(anomaly.score),
    value: finite(anomaly.value),
    expected: finite(anomaly.expected),
    lower: finite(anomaly.lower),
    upper: finite(anomaly.upper),
    factor: factorOf(anomaly) ?? null,
    cause,
    features: anomaly.features.map(({ name, share, value }) => ({
      ...{ name, share },
      value: finite(value ?? Number.NaN),
    })),
    young: anomaly.isYoung,
    verdict: anomaly.verdict?.outcome ?? 'unchecked',
    deepCheck: anomaly.verdict === undefined ? null : deepCheckRow(anomaly.verdict),
    feedback: said === undefined ? null : kindOf(said),
    incident: incident === undefined ? null : incidentId(incident),
    explanation: explain(anomaly),
  };
}

function deepCheckRow(verdict: AnomalyVerdict): AnomalyRow['deepCheck'] {
  const { model, expected, lower, upper, direction = null, p, reason } = verdict;
  const shown = (value: number | undefined) => finite(value ?? Number.NaN);
  return {
    model,
    at: time(verdict.timestampMs),
    expected: shown(expected),
    lower: shown(lower),
    upper: shown(upper),
    direction,
    p: shown(p),
    reason,
  };
}

export function incidentRow(incident: Incident, timeline: Timeline): IncidentRow {
  const first = firstOf(incident);
  const { peak, series, rank } = timeline.notices.weightOf(incident);
  const endMs = endOf(incident);
  const entities = new Set<string>();
  for (const anomaly of incident.members) {
    if (entities.size >= ENTITIES_SHOWN) break;
    entities.add(timeline.entityOf(anomaly) || seriesText(anomaly.labels));
  }
  const count = incident.members.length;
  const worst = explain(peak);
  const began = `It began with ${seriesText(first.labels)} at ${time(first.onsetMs)}`;
  return {
    id: incidentId(incident),
    state: endMs === undefined ? 'open' : 'closed',
    start: time(first.onsetMs),
    end: endMs === undefined ? null : time(endMs),
    score: finite(peak.score),
    rank: finite(rank),
    series,
    anomalies: count,
    entities: [...entities],
    firstMover: {
      anomaly: first.id,
      series: seriesText(first.labels),
      entity: timeline.entityOf(first),
      onset: time(first.onsetMs),
    },
    notification: OUTCOMES[timeline.outcomeOf(incident)] ?? 'pending',
    explanation:
      count === 1 ? worst : `${began}; ${plain(series)} series in all, the furthest: ${worst}`,
  };
}

export function incidentStory(incident: Incident, timeline: Timeline): object {
  const shown = incident.members.slice(0, PAGE_ROWS_MAX);
  return {
    ...incidentRow(incident, timeline),
    members: shown.map((anomaly) => anomalyRow(anomaly, timeline)),
  };
}

export function feedbackRow(entry: FeedbackEntry): FeedbackRow {
  const { anomaly, match, expiresMs, startMs, endMs, comment } = entry.feedback;
  return {
    id: entry.id,
    at: time(entry.atMs),
    kind: kindOf(entry),
    anomaly: anomaly?.id ?? null,
    match,
    expires: timeOrNull(expiresMs),
    start: timeOrNull(startMs),
    end: timeOrNull(endMs),
    comment,
  };
}

export function maintenanceRow(entry: MaintenanceEntry, nowMs: number): MaintenanceRow {
  const { match, mute, noLearn, startMs, endMs, weekly, comment } = entry.maintenance;
  return {
    id: entry.id,
    at: time(entry.atMs),
    match,
    mute,
    noLearn,
    start: timeOrNull(startMs),
    end: timeOrNull(endMs),
    weekly:
      weekly === undefined
        ? null
        : {
            days: weekly.days.map((day) => DAYS[day] ?? 'sun'),
            from: clock(weekly.from),
            to: clock(weekly.to),
            timezone: weekly.timeZone,
          },
    active: isActive(entry, nowMs),
    comment,
  };
}

/** The wire's numbers begin with "unspecified". */
function kindOf({ feedback }: FeedbackEntry): FeedbackRow['kind'] {
  return KINDS[feedback.kind - FeedbackKind.FALSE_ALARM] ?? 'false-alarm';
}

export function outcomeNamed(name: (typeof OUTCOMES)[number]): Outcome {
  return OUTCOMES.indexOf(name);
}

function clock(minutes: number): string {
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  return `${String(hours).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
}

function timeOrNull(ms: bigint | undefined): string | null {
  return ms === undefined ? null : time(Number(ms));
}

/** JSON knows no infinity. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
