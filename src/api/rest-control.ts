// The routes by which people tell Treeline something: feedback and maintenance windows. Each request becomes one record
// of the control log, and is answered when that is durable; taking back is a record as well.

import { createHash, randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Type } from '@sinclair/typebox';
import { isTimeZone } from '../calendar.js';
import { OperatingError } from '../errors.js';
import { Cause } from '../gen/candidate_pb.js';
import {
  type Control,
  ControlSchema,
  FeedbackKind,
  type FeedbackSchema,
  type MaintenanceSchema,
} from '../gen/control_pb.js';
import { type HttpRequest, type HttpServer, tenantOf } from '../http-server.js';
import { FEEDBACK_MAX, FEEDBACK_MS, MAINTENANCE_MAX } from '../limits.js';
import { anyOf } from '../matchers.js';
import type { Anomaly } from './anomalies.js';
import { deviationOf } from './control.js';
import { BadRequest, Conflict, NotFound, timeOf } from './query.js';
import {
  BODY_FAILURES,
  DAYS,
  FAILURES,
  Failure,
  FeedbackBody,
  FeedbackRow,
  IdParams,
  KINDS,
  MaintenanceBody,
  MaintenanceRow,
  NOT_FOUND,
  UNTOLD,
} from './rest-schemas.js';
import { feedbackRow, maintenanceRow } from './rows.js';
import type { Timeline } from './timeline.js';

export interface Told {
  timeline: Timeline;
  /** Resolves once the record is durable and in force. */
  tell: (record: Control) => Promise<void>;
  clock: () => number;
}

const BODY_BYTES_MAX = 64 * 1024;
const FULL = { 409: { ...Failure, description: 'As many as there may be are in force' } };
const KEY = 'idempotency-key';
const KeyHeader = Type.Object({
  [KEY]: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 200,
      description:
        'Chosen by the sender: the same key again is the same record, and changes nothing',
    }),
  ),
});
const TakenBack = { 204: Type.Null({ description: 'Taken back' }) };

export function controlRoutes(server: HttpServer, told: Told): void {
  feedbackRoutes(server, told);
  maintenanceRoutes(server, told);
}

function feedbackRoutes(server: HttpServer, told: Told): void {
  const { timeline, tell } = told;
  const { control } = timeline;
  const tags = ['feedback'];
  server.get(
    '/feedback',
    {
      schema: {
        tags,
        summary: 'Feedback in force',
        response: { 200: Type.Object({ feedback: Type.Array(FeedbackRow) }), ...FAILURES },
      },
    },
    async (request) => ({ feedback: control.feedback(tenantOf(request)).map(feedbackRow) }),
  );
  server.post<{ Body: FeedbackBody }>(
    '/feedback',
    {
      bodyLimit: BODY_BYTES_MAX,
      schema: {
        tags,
        summary: 'Say of an anomaly, or of series, what it really was',
        headers: KeyHeader,
        body: FeedbackBody,
        response: { 201: FeedbackRow, ...FAILURES, ...NOT_FOUND, ...FULL, ...BODY_FAILURES },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request);
      const feedback = feedbackOf(request.body, { tenant, told });
      if (control.counts.feedback >= FEEDBACK_MAX) {
        throw new Conflict(`${FEEDBACK_MAX} pieces of feedback are in force; take some back first`);
      }
      const key = keyOf(request);
      const what = { case: 'feedback', value: feedback } as const;
      const record = recordOf({ tenant, told, what, key });
      await toldWhole(tell(record), key);
      const entry = control.feedback(tenant).find(({ id }) => id === record.id);
      if (entry === undefined) throw new Conflict('It has been taken back already');
      return reply.code(201).send(feedbackRow(entry));
    },
  );
  const isKnown = (id: string, tenant: string) =>
    control.feedback(tenant).some((entry) => entry.id === id);
  undoRoutes(server, told, { path: '/feedback', tags, isKnown });
}

function maintenanceRoutes(server: HttpServer, told: Told): void {
  const { timeline, tell } = told;
  const { control } = timeline;
  const tags = ['maintenance'];
  server.get(
    '/maintenance',
    {
      schema: {
        tags,
        summary: 'Maintenance windows',
        response: { 200: Type.Object({ maintenance: Type.Array(MaintenanceRow) }), ...FAILURES },
      },
    },
    async (request) => ({
      maintenance: control
        .maintenance(tenantOf(request))
        .map((entry) => maintenanceRow(entry, timeline.nowMs)),
    }),
  );
  server.post<{ Body: MaintenanceBody }>(
    '/maintenance',
    {
      bodyLimit: BODY_BYTES_MAX,
      schema: {
        tags,
        summary: 'Announce a maintenance window, once or every week',
        headers: KeyHeader,
        body: MaintenanceBody,
        response: { 201: MaintenanceRow, ...FAILURES, ...FULL, ...BODY_FAILURES },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request);
      const maintenance = maintenanceOf(request.body, told.clock());
      if (control.counts.maintenance >= MAINTENANCE_MAX) {
        throw new Conflict(`There are ${MAINTENANCE_MAX} maintenance windows; delete some first`);
      }
      const key = keyOf(request);
      const what = { case: 'maintenance', value: maintenance } as const;
      const record = recordOf({ tenant, told, what, key });
      await toldWhole(tell(record), key);
      const entry = control.maintenance(tenant).find(({ id }) => id === record.id);
      if (entry === undefined) throw new Conflict('It has been deleted already');
      return reply.code(201).send(maintenanceRow(entry, timeline.nowMs));
    },
  );
  const isKnown = (id: string, tenant: string) =>
    control.maintenance(tenant).some((entry) => entry.id === id);
  undoRoutes(server, told, { path: '/maintenance', tags, isKnown });
}

function undoRoutes(
  server: HttpServer,
  told: Told,
  route: { path: string; tags: string[]; isKnown: (id: string, tenant: string) => boolean },
): void {
  const { path, tags, isKnown } = route;
  const undo = async (id: string, tenant: string) => {
    if (!isKnown(id, tenant)) throw new NotFound('No such record is in force');
    await told.tell(recordOf({ tenant, told, what: { case: 'undo', value: { id } } }));
  };
  const response = { ...TakenBack, ...FAILURES, ...NOT_FOUND, ...UNTOLD };
  server.delete<{ Params: IdParams }>(
    `${path}/:id`,
    { schema: { tags, summary: 'Take it back', params: IdParams, response } },
    async (request, reply) => {
      await undo(request.params.id, tenantOf(request));
      return reply.code(204).send();
    },
  );
  server.delete<{ Querystring: IdParams }>(
    path,
    { schema: { tags, summary: 'Take it back', querystring: IdParams, response } },
    async (request, reply) => {
      await undo(request.query.id, tenantOf(request));
      return reply.code(204).send();
    },
  );
}

function recordOf(record: {
  tenant: string;
  told: Told;
  what: NonNullable<MessageInitShape<typeof ControlSchema>['what']>;
  key?: string;
}): Control {
  const { tenant, told, what, key } = record;
  const id = key === undefined ? randomUUID() : idOf(tenant, key);
  return create(ControlSchema, { id, tenant, atMs: BigInt(told.clock()), what });
}

function keyOf({ headers }: HttpRequest): string {
  const key = headers[KEY];
  return typeof key === 'string' ? key : randomUUID();
}

/** The key itself may be known to other tenants; the id must not be theirs. */
function idOf(tenant: string, key: string): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([tenant, key]))
    .digest('hex');
  return [8, 12, 16, 20, 32]
    .map((end, i, ends) => digest.slice(i === 0 ? 0 : (ends[i - 1] as number), end))
    .join('-');
}

/** A record has a copy in each partition, and some may be there when another one could not be appended. */
async function toldWhole(telling: Promise<void>, key: string): Promise<void> {
  try {
    await telling;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    const advice = `Some scorers may have heard of it: send it again with Idempotency-Key: ${key}`;
    throw new OperatingError(error.code, `${error.message}. ${advice}`, error);
  }
}

function feedbackOf(
  body: FeedbackBody,
  { tenant, told }: { tenant: string; told: Told },
): MessageInitShape<typeof FeedbackSchema> {
  const { timeline, clock } = told;
  const { kind, scope, start, end, expires } = body;
  const anomaly =
    body.anomaly === undefined ? undefined : timeline.anomalies.get(body.anomaly, tenant);
  if (body.anomaly !== undefined && anomaly === undefined) {
    throw new NotFound('No such anomaly is known here');
  }
  if (scope !== undefined && (anomaly === undefined || body.match !== undefined)) {
    throw new BadRequest(
      'scope says how far the word on an anomaly reaches: give anomaly and not match',
    );
  }
  if (kind === 'missed') {
    if (anomaly !== undefined)
      throw new BadRequest('What was missed is no anomaly; give match and start');
    if (body.match === undefined || start === undefined) {
      throw new BadRequest('Of what was missed match and start are needed');
    }
  } else if (anomaly === undefined && body.match === undefined) {
    throw new BadRequest('Give anomaly, or match');
  } else if (start !== undefined || end !== undefined) {
    throw new BadRequest('start and end belong to what was missed');
  }
  const match =
    body.match ?? (scope === 'entity' ? [entitySelector(anomaly as Anomaly, timeline)] : []);
  anyOf(match);
  const period = periodOf(start, end);
  const expiresMs =
    expires === undefined
      ? clock() + FEEDBACK_MS
      : expires === null
        ? undefined
        : timeOf('expires', expires);
  return {
    kind: FeedbackKind.FALSE_ALARM + KINDS.indexOf(kind),
    ...(anomaly !== undefined && { anomaly: markedOf(anomaly) }),
    match: [...match],
    streamMs: millis(Number.isFinite(timeline.nowMs) ? timeline.nowMs : clock()),
    ...(expiresMs !== undefined && { expiresMs: millis(expiresMs) }),
    ...period,
    comment: body.comment ?? '',
  };
}

function maintenanceOf(
  body: MaintenanceBody,
  nowMs: number,
): MessageInitShape<typeof MaintenanceSchema> {
  const { match, mute, noLearn, start, end, weekly, comment = '' } = body;
  anyOf(match);
  if (!mute && !noLearn) throw new BadRequest('mute, noLearn, or both must be true');
  if (weekly === undefined && end === undefined) {
    throw new BadRequest('Without weekly a window needs an end');
  }
  const begins = start ?? (weekly === undefined ? String(nowMs / 1000) : undefined);
  const period = periodOf(begins, end);
  if (weekly !== undefined && !isTimeZone(weekly.timezone)) {
    throw new BadRequest(
      `weekly.timezone is ${JSON.stringify(weekly.timezone)}, expected an IANA name`,
    );
  }
  return {
    match: [...match],
    mute,
    noLearn,
    ...period,
    ...(weekly !== undefined && {
      weekly: {
        days: weekly.days.map((day) => DAYS.indexOf(day)),
        from: minutesOf(weekly.from),
        to: minutesOf(weekly.to),
        timeZone: weekly.timezone,
      },
    }),
    comment,
  };
}

function periodOf(start: string | undefined, end: string | undefined) {
  const startMs = start === undefined ? undefined : timeOf('start', start);
  const endMs = end === undefined ? undefined : timeOf('end', end);
  if (startMs !== undefined && endMs !== undefined && endMs <= startMs) {
    throw new BadRequest('end is not after start');
  }
  return {
    ...(startMs !== undefined && { startMs: millis(startMs) }),
    ...(endMs !== undefined && { endMs: millis(endMs) }),
  };
}

function markedOf(anomaly: Anomaly) {
  const { id, fingerprint, onsetMs, cause } = anomaly;
  return {
    id,
    fingerprint: BigInt(`0x${fingerprint}`),
    onsetMs: BigInt(onsetMs),
    cause: Cause[cause.toUpperCase() as keyof typeof Cause],
    ...deviationOf(anomaly),
  };
}

function entitySelector(anomaly: Anomaly, timeline: Timeline): string {
  const labels = timeline.entityLabels(anomaly);
  if (labels.length === 0) {
    throw new BadRequest('The series belongs to no entity; leave out scope, or give match');
  }
  const tests = labels.map(({ name, value }) => `${JSON.stringify(name)}=${JSON.stringify(value)}`);
  return `{${tests.join(',')}}`;
}

function minutesOf(clock: string): number {
  const [hours = 0, minutes = 0] = clock.split(':').map(Number);
  return 60 * hours + minutes;
}

function millis(ms: number): bigint {
  return BigInt(Math.round(ms));
}
