// The shapes of /anomaly/v1 in both directions: requests are checked against them, answers are written by them, and the
// OpenAPI document is made of them.

import { type Static, type TSchema, Type } from '@sinclair/typebox';
import {
  COMMENT_LENGTH_MAX,
  CONTROL_SELECTORS_MAX,
  MATCHER_LENGTH_MAX,
  PAGE_ROWS_MAX,
} from '../limits.js';

const strict = { additionalProperties: false };

function oneOf<const T extends readonly string[]>(values: T, description: string) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...values], description });
}
const NullableNumber = (description: string) =>
  Type.Unsafe<number | null>({ type: ['number', 'null'], description });
const NullableText = (description: string) =>
  Type.Unsafe<string | null>({ type: ['string', 'null'], description });
const Text = (description: string) => Type.String({ description });
const Labels = Type.Record(Type.String(), Type.String(), { description: 'Labels of the series' });
const Selector = Type.String({ minLength: 1, maxLength: MATCHER_LENGTH_MAX });
/** Past every id and cursor of ours. */
const Short = { minLength: 1, maxLength: 200 };

export const Failure = Type.Object({ error: Text('What is wrong, in a sentence') });
export const FAILURES = {
  400: { ...Failure, description: 'The request cannot be understood' },
  401: { description: 'No known credential', content: { 'text/plain': { schema: Type.String() } } },
  403: { description: 'Not allowed', content: { 'text/plain': { schema: Type.String() } } },
  431: { ...Failure, description: 'Address and headers have more than 16 KiB' },
};
export const NOT_FOUND = {
  404: { ...Failure, description: 'Not known here' },
  414: { ...Failure, description: 'Longer than any id of ours' },
};
/** Of routes that write a record. */
export const UNTOLD = {
  503: { ...Failure, description: 'The log is away: send it again after Retry-After' },
};
export const BODY_FAILURES = {
  ...UNTOLD,
  413: { ...Failure, description: 'A body of more than 64 KiB' },
  415: { ...Failure, description: 'A body that is not application/json' },
};
export const OWNER_UNREACHABLE = {
  503: { ...Failure, description: 'A scorer that did not answer may own the series' },
};

export const STATES = ['open', 'closed'] as const;
export const VERDICTS = ['confirmed', 'suppressed', 'abstained', 'unchecked'] as const;
export const OUTCOMES = [
  'pending',
  'notified',
  'held',
  'shadow',
  'muted',
  'dismissed',
  'suppressed',
] as const;
export const KINDS = ['false-alarm', 'confirmed', 'missed', 'accept-shift'] as const;
export const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

const page = {
  'match[]': Type.Optional(
    Type.Array(Selector, {
      maxItems: CONTROL_SELECTORS_MAX,
      description:
        'Series selectors as PromQL writes them; any of them. Regular expressions are anchored',
    }),
  ),
  limit: Type.Integer({ minimum: 1, maximum: PAGE_ROWS_MAX, default: 100 }),
  cursor: Type.Optional(Type.String({ ...Short, description: 'As the page before gave it' })),
};
const period = {
  state: Type.Optional(oneOf(STATES, 'Only these')),
  start: Type.Optional(
    Type.String({ ...Short, description: 'Not over before; RFC 3339 or seconds' }),
  ),
  end: Type.Optional(Type.String({ ...Short, description: 'Begun by then; RFC 3339 or seconds' })),
};

export const AnomalyQuery = Type.Object({ ...page, ...period });
export type AnomalyQuery = Static<typeof AnomalyQuery>;
export const IncidentQuery = Type.Object({
  ...page,
  ...period,
  notification: Type.Optional(oneOf(OUTCOMES, 'Only these')),
  order: Type.Unsafe<'time' | 'rank'>({ type: 'string', enum: ['time', 'rank'], default: 'time' }),
});
export type IncidentQuery = Static<typeof IncidentQuery>;
export const SeriesQuery = Type.Object(page);
export type SeriesQuery = Static<typeof SeriesQuery>;
/** The router refuses longer ones. */
export const IdParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 100 }) });
export type IdParams = Static<typeof IdParams>;

const DeepCheckFields = Type.Object({
  model: Text('Id of the model, or name of the rule'),
  at: Text('The sample that was judged'),
  expected: NullableNumber(
    'Forecast from what came before the suspicion; null where there was none',
  ),
  lower: NullableNumber('Of the forecast band'),
  upper: NullableNumber('Of the forecast band'),
  direction: Type.Unsafe<'above' | 'below' | null>({
    type: ['string', 'null'],
    enum: ['above', 'below', null],
    description: 'On which side of the forecast',
  }),
  p: NullableNumber('How often a value at least as far out is to be expected here'),
  reason: Text('Why it abstained or could not check; else empty'),
});

export const AnomalyRow = Type.Object({
  id: Type.String(),
  series: Text('Name and labels as a selector'),
  labels: Labels,
  fingerprint: Text('16 hexadecimal digits'),
  state: oneOf(STATES, 'open until the scores are calm again'),
  onset: Text('When it began'),
  peak: Text('When its score was highest; the numbers are of then'),
  end: NullableText('Its last anomalous sample'),
  score: NullableNumber('1 is the alert threshold'),
  value: NullableNumber('What was scored; of a counter its rate per second'),
  expected: NullableNumber('What was expected'),
  lower: NullableNumber('Of the expected band'),
  upper: NullableNumber('Of the expected band'),
  factor: NullableNumber('How many times the expected value; null where that says nothing'),
  cause: oneOf(['novelty', 'magnitude', 'quiet', 'unspecified'], 'By which measure it is unusual'),
  features: Type.Array(
    Type.Object({
      name: Type.String(),
      share: Type.Number({ description: 'Part in the distance, 0 to 1; of all together 1' }),
      value: NullableNumber('As it was scored; null while it was not known'),
    }),
    { description: 'Of the distance of an entity; of any other series empty' },
  ),
  young: Type.Boolean({
    description: 'Its series was known for less than a day: the score is a guess',
  }),
  verdict: oneOf(VERDICTS, 'What the deep check said; unchecked also while it has said nothing'),
  deepCheck: Type.Unsafe<Static<typeof DeepCheckFields> | null>({
    anyOf: [DeepCheckFields, { type: 'null' }],
    description: 'How it came to that; null while it has said nothing',
  }),
  feedback: NullableText('What was said of it last'),
  incident: NullableText('What it is part of'),
  explanation: Text('One sentence'),
});
export type AnomalyRow = Static<typeof AnomalyRow>;

const incidentFields = {
  id: Type.String(),
  state: oneOf(STATES, 'open while one of its anomalies is'),
  start: Text('First onset'),
  end: NullableText('Last end'),
  score: NullableNumber('Highest of its anomalies'),
  rank: NullableNumber(
    'What the budget compares: the score, once more with each doubling of the series',
  ),
  series: Type.Integer({ description: 'Different series' }),
  anomalies: Type.Integer({ description: 'Anomalies' }),
  entities: Type.Array(Type.String(), {
    description: 'The first twenty, in the order of their onsets',
  }),
  firstMover: Type.Object({
    anomaly: Type.String(),
    series: Type.String(),
    entity: Type.String(),
    onset: Type.String(),
  }),
  notification: oneOf(OUTCOMES, 'What was decided about telling somebody'),
  explanation: Text('One sentence'),
};
export const IncidentRow = Type.Object(incidentFields);
export type IncidentRow = Static<typeof IncidentRow>;
export const IncidentStory = Type.Object({
  ...incidentFields,
  members: Type.Array(AnomalyRow, {
    description: 'In the order of their onsets, the first thousand',
  }),
});

export const pageOf = <T extends TSchema>(name: string, row: T) =>
  Type.Object({
    [name]: Type.Array(row),
    cursor: Type.Optional(Text('Where the next page begins; absent on the last one')),
  });
export const Anything = Type.Object({}, { additionalProperties: true });
export const SeriesPage = Type.Object({
  ...pageOf('series', Anything).properties,
  unreachable: Type.Optional(
    Type.Array(Type.Object({ scorer: Text('Its address'), reason: Text('Why') }), {
      description: 'Scorers that did not answer; their series are missing here',
    }),
  ),
});

const match = (minItems: number) =>
  Type.Array(Selector, {
    minItems,
    maxItems: CONTROL_SELECTORS_MAX,
    description: 'Series selectors, any of them',
  });
const Comment = Type.String({ maxLength: COMMENT_LENGTH_MAX });

export const FeedbackBody = Type.Object(
  {
    kind: oneOf(KINDS, 'What is said'),
    anomaly: Type.Optional(
      Type.String({ ...Short, description: 'Id of the anomaly that it is said of' }),
    ),
    scope: Type.Optional(
      oneOf(['series', 'entity'], 'Holds for the series of the anomaly, or all of its entity'),
    ),
    match: Type.Optional(match(1)),
    expires: Type.Optional(NullableText('RFC 3339 or seconds; null: never; default in 90 days')),
    start: Type.Optional(Type.String({ ...Short, description: 'Of what was missed' })),
    end: Type.Optional(Type.String({ ...Short, description: 'Of what was missed' })),
    comment: Type.Optional(Comment),
  },
  strict,
);
export type FeedbackBody = Static<typeof FeedbackBody>;
export const FeedbackRow = Type.Object({
  id: Type.String(),
  at: Type.String(),
  kind: oneOf(KINDS, 'What was said'),
  anomaly: NullableText('Of which anomaly'),
  match: Type.Array(Type.String()),
  expires: NullableText('Null: never'),
  start: NullableText('Of what was missed'),
  end: NullableText('Of what was missed'),
  comment: Type.String(),
});
export type FeedbackRow = Static<typeof FeedbackRow>;

const Clock = (description: string) =>
  Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$', description });
const Weekly = Type.Object(
  {
    days: Type.Array(oneOf(DAYS, 'On which it begins'), {
      minItems: 1,
      maxItems: 7,
      uniqueItems: true,
    }),
    from: Clock('HH:MM'),
    to: Clock('HH:MM; not after from: on the next day'),
    timezone: Type.String({ ...Short, default: 'UTC', description: 'IANA name' }),
  },
  strict,
);
export const MaintenanceBody = Type.Object(
  {
    match: match(1),
    mute: Type.Boolean({ default: true, description: 'Nobody is notified' }),
    noLearn: Type.Boolean({ default: false, description: 'Nothing is learnt from the samples' }),
    start: Type.Optional(
      Type.String({ ...Short, description: 'RFC 3339 or seconds; default now' }),
    ),
    end: Type.Optional(
      Type.String({ ...Short, description: 'RFC 3339 or seconds; needed without weekly' }),
    ),
    weekly: Type.Optional(Weekly),
    comment: Type.Optional(Comment),
  },
  strict,
);
export type MaintenanceBody = Static<typeof MaintenanceBody>;
export const MaintenanceRow = Type.Object({
  id: Type.String(),
  at: Type.String(),
  match: Type.Array(Type.String()),
  mute: Type.Boolean(),
  noLearn: Type.Boolean(),
  start: NullableText('From when on'),
  end: NullableText('Until when'),
  weekly: Type.Unsafe<Static<typeof Weekly> | null>({
    anyOf: [Type.Object(Weekly.properties), { type: 'null' }],
  }),
  active: Type.Boolean({ description: 'At the newest stream time' }),
  comment: Type.String(),
});
export type MaintenanceRow = Static<typeof MaintenanceRow>;
