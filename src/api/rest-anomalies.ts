// The routes that show what has been found: anomalies, incidents, and the stream of both as they change.

import { type HttpServer, tenantOf } from '../http-server.js';
import { anyOf } from '../matchers.js';
import type { Label } from '../series.js';
import { type Anomaly, placeOf } from './anomalies.js';
import { endOf, firstOf, type Incident } from './incidents.js';
import { decodeCursor, encodeCursor, NotFound, timeOf } from './query.js';
import {
  AnomalyQuery,
  AnomalyRow,
  FAILURES,
  Failure,
  IdParams,
  IncidentQuery,
  IncidentRow,
  IncidentStory,
  NOT_FOUND,
  pageOf,
} from './rest-schemas.js';
import { anomalyRow, incidentRow, incidentStory, outcomeNamed } from './rows.js';
import type { EventStream } from './stream.js';
import type { Timeline } from './timeline.js';

export interface Shown {
  timeline: Timeline;
  stream: EventStream;
  /** Brings incidents up to date with what has been read. */
  refresh: () => void;
}

export function anomalyRoutes(server: HttpServer, shown: Shown): void {
  const { timeline, refresh } = shown;
  const tags = ['anomalies'];
  server.get<{ Querystring: AnomalyQuery }>(
    '/anomalies',
    {
      schema: {
        tags,
        summary: 'Anomalies, newest onset first',
        querystring: AnomalyQuery,
        response: { 200: pageOf('anomalies', AnomalyRow), ...FAILURES },
      },
    },
    async (request) => {
      refresh();
      const { rows, next } = pageOfAnomalies(timeline, tenantOf(request), request.query);
      return {
        anomalies: rows.map((anomaly) => anomalyRow(anomaly, timeline)),
        ...(next !== undefined && { cursor: next }),
      };
    },
  );
  server.get<{ Params: IdParams }>(
    '/anomalies/:id',
    {
      schema: {
        tags,
        summary: 'One anomaly',
        params: IdParams,
        response: { 200: AnomalyRow, ...FAILURES, ...NOT_FOUND },
      },
    },
    async (request) => {
      refresh();
      const anomaly = timeline.anomalies.get(request.params.id, tenantOf(request));
      if (anomaly === undefined) throw new NotFound('No such anomaly is known here');
      return anomalyRow(anomaly, timeline);
    },
  );
  incidentRoutes(server, shown);
  streamRoute(server, shown);
}

function incidentRoutes(server: HttpServer, { timeline, refresh }: Shown): void {
  const tags = ['incidents'];
  server.get<{ Querystring: IncidentQuery }>(
    '/incidents',
    {
      schema: {
        tags,
        summary: 'Anomalies that belong together, newest or highest ranked first',
        querystring: IncidentQuery,
        response: { 200: pageOf('incidents', IncidentRow), ...FAILURES },
      },
    },
    async (request) => {
      refresh();
      const { rows, next } = pageOfIncidents(timeline, tenantOf(request), request.query);
      return {
        incidents: rows.map((incident) => incidentRow(incident, timeline)),
        ...(next !== undefined && { cursor: next }),
      };
    },
  );
  server.get<{ Params: IdParams }>(
    '/incidents/:id',
    {
      schema: {
        tags,
        summary: 'One incident with its anomalies',
        description:
          'Known by the id of any of its anomalies after i-, also when it has grown since.',
        params: IdParams,
        response: { 200: IncidentStory, ...FAILURES, ...NOT_FOUND },
      },
    },
    async (request) => {
      refresh();
      const incident = timeline.incidentOf(request.params.id.replace(/^i-/, ''), tenantOf(request));
      if (incident === undefined) throw new NotFound('No such incident is known here');
      return incidentStory(incident, timeline);
    },
  );
}

function streamRoute(server: HttpServer, { stream }: Shown): void {
  server.get(
    '/stream',
    {
      schema: {
        tags: ['stream'],
        summary: 'Anomalies and incidents as they change, as server-sent events',
        description:
          'Events anomaly and incident hold the rows of those routes. After hello nothing was missed since ' +
          'Last-Event-ID; after reset the lists must be read anew.',
        response: {
          200: {
            description: 'Events',
            content: { 'text/event-stream': { schema: { type: 'string' } } },
          },
          ...FAILURES,
          503: { ...Failure, description: 'Too many readers' },
        },
      },
    },
    (request, reply) => {
      if (stream.isFull) {
        const error = 'As many readers as there may be follow the stream; try again later';
        return reply.code(503).header('Retry-After', '10').send({ error });
      }
      const last = request.headers['last-event-id'];
      reply.header('Cache-Control', 'no-store').header('X-Accel-Buffering', 'no');
      return reply
        .type('text/event-stream; charset=utf-8')
        .send(stream.open(tenantOf(request), typeof last === 'string' ? last : undefined));
    },
  );
}

interface Page<T> {
  rows: T[];
  next: string | undefined;
}

/** Walks back from the newest; what lies before the cursor or the end is not looked at. */
function pageOfAnomalies(timeline: Timeline, tenant: string, query: AnomalyQuery): Page<Anomaly> {
  const ordered = timeline.anomalies.ordered(tenant);
  const { state, limit, startMs, endMs, matches } = filterOf(query);
  let at = placeOf(ordered, { onsetMs: endMs, id: '~' });
  if (query.cursor !== undefined) {
    const { value, id } = decodeCursor(query.cursor);
    at = Math.min(at, placeOf(ordered, { onsetMs: value, id }));
  }
  const rows: Anomaly[] = [];
  for (at--; at >= 0; at--) {
    const anomaly = ordered[at] as Anomaly;
    if (state !== undefined && (anomaly.endMs === undefined) !== (state === 'open')) continue;
    if ((anomaly.endMs ?? Number.POSITIVE_INFINITY) < startMs || !matches(anomaly.labels)) continue;
    if (rows.length === limit) {
      const { onsetMs: value, id } = rows.at(-1) as Anomaly;
      return { rows, next: encodeCursor({ value, id }) };
    }
    rows.push(anomaly);
  }
  return { rows, next: undefined };
}

function pageOfIncidents(timeline: Timeline, tenant: string, query: IncidentQuery): Page<Incident> {
  const { state, limit, startMs, endMs, matches } = filterOf(query);
  const { order } = query;
  const wanted = query.notification && outcomeNamed(query.notification);
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
  const rows: Incident[] = [];
  for (const incident of timeline.list(tenant, order)) {
    const first = firstOf(incident);
    const value = timeline.orderOf(incident, order);
    if (after !== undefined) {
      if (value > after.value || (value === after.value && first.id >= after.id)) continue;
    }
    if (first.onsetMs > endMs) continue;
    const end = endOf(incident);
    if (state !== undefined && (end === undefined) !== (state === 'open')) continue;
    if ((end ?? Number.POSITIVE_INFINITY) < startMs) continue;
    if (wanted !== undefined && timeline.outcomeOf(incident) !== wanted) continue;
    if (!incident.members.some(({ labels }) => matches(labels))) continue;
    if (rows.length === limit) {
      const last = rows.at(-1) as Incident;
      const place = { value: timeline.orderOf(last, order), id: firstOf(last).id };
      return { rows, next: encodeCursor(place) };
    }
    rows.push(incident);
  }
  return { rows, next: undefined };
}

function filterOf(query: AnomalyQuery) {
  const matches = anyOf(query['match[]'] ?? []);
  const known = new Map<readonly Label[], boolean>();
  return {
    state: query.state,
    limit: query.limit,
    startMs: query.start === undefined ? Number.NEGATIVE_INFINITY : timeOf('start', query.start),
    endMs: query.end === undefined ? Number.POSITIVE_INFINITY : timeOf('end', query.end),
    // The anomalies of one series share their labels.
    matches: (labels: readonly Label[]): boolean => {
      let answer = known.get(labels);
      if (answer === undefined) {
        answer = matches(labels);
        known.set(labels, answer);
      }
      return answer;
    },
  };
}
