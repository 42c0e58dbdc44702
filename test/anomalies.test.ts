import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Anomalies, explain } from '../src/api/anomalies.js';
import { type Candidate, CandidateSchema, Cause, Phase } from '../src/gen/candidate_pb.js';
import { ANOMALIES_MAX } from '../src/limits.js';

const label = [
  { name: '__name__', value: 'up' },
  { name: 'job', value: 'node' },
];

type Fields = Exclude<MessageInitShape<typeof CandidateSchema>, Candidate>;

function candidate(phase: Phase, at: number, fields: Fields = {}): Candidate {
  return create(CandidateSchema, {
    fingerprint: 0xfedcba9876543210n,
    onsetMs: 1000n,
    timestampMs: BigInt(at),
    score: 2,
    value: 50,
    expected: 10,
    lower: 5,
    upper: 15,
    cause: Cause.MAGNITUDE,
    ...fields,
    phase,
    label,
  });
}

test('onset, peak and end become one anomaly', () => {
  const view = new Anomalies();
  view.apply(candidate(Phase.ONSET, 1000));
  expect(view.list('')).toMatchObject([{ id: 'fedcba9876543210-1000', state: 'open', score: 2 }]);
  view.apply(candidate(Phase.PEAK, 2000, { score: 5, value: 99 }));
  view.apply(candidate(Phase.END, 3000, { score: 0.1, value: 10 }));
  expect(view.list('')).toMatchObject([
    { state: 'closed', score: 5, value: 99, onsetMs: 1000, peakMs: 2000, endMs: 3000 },
  ]);
  expect(view.get('fedcba9876543210-1000', '')?.series).toBe('up{job="node"}');
});

test('a replayed log changes nothing', () => {
  const log = [
    candidate(Phase.ONSET, 1000),
    candidate(Phase.PEAK, 2000, { score: 5 }),
    candidate(Phase.END, 3000),
  ];
  const [once, twice] = [new Anomalies(), new Anomalies()];
  for (const one of log) once.apply(one);
  for (const one of [...log, ...log]) twice.apply(one);
  expect(twice.list('')).toEqual(once.list(''));
});

test('the newest onset comes first, and the oldest closed anomaly makes room', () => {
  const view = new Anomalies();
  view.apply(candidate(Phase.ONSET, 1, { onsetMs: 1n, fingerprint: 1n }));
  for (let at = 2; at <= ANOMALIES_MAX + 1; at++) {
    view.apply(candidate(Phase.ONSET, at, { onsetMs: BigInt(at) }));
    view.apply(candidate(Phase.END, at, { onsetMs: BigInt(at) }));
  }
  expect(view.count).toBe(ANOMALIES_MAX);
  const list = view.list('');
  expect(list[0]?.onsetMs).toBe(ANOMALIES_MAX + 1);
  // The open one is kept although it is the oldest.
  expect(list.at(-1)?.onsetMs).toBe(1);
});

test('the sentence says what was seen and what was expected', () => {
  const sentence = (fields: Fields) => {
    const view = new Anomalies();
    view.apply(candidate(Phase.ONSET, 1000, fields));
    return explain(view.list('')[0] as NonNullable<ReturnType<Anomalies['get']>>);
  };
  expect(sentence({ value: 50 })).toBe(
    '50 at 1970-01-01T00:00:01.000Z, above the expected 10 (up to 15).',
  );
  expect(sentence({ value: 1 })).toContain('below the expected 10 (down to 5)');
  expect(sentence({ value: 10, cause: Cause.NOVELTY })).toContain('a pattern not seen before');
  expect(sentence({ value: 10, cause: Cause.QUIET })).toContain('stood still');
});
