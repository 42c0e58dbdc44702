// Candidates as a scorer writes them, for tests of what is made of them: one anomaly of one series from onset to end.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Candidate, CandidateSchema, Cause, Phase } from '../src/gen/candidate_pb.js';

export type CandidateFields = Exclude<MessageInitShape<typeof CandidateSchema>, Candidate>;

/** What a test says of an anomaly; the fingerprint follows from its labels. */
export interface Told {
  labels: Readonly<Record<string, string>>;
  onset: number;
  /** Absent: it stays open. */
  end?: number;
  peak?: number;
  score?: number;
  value?: number;
  expected?: number;
  band?: readonly [number, number];
  cause?: Cause;
  tenant?: string;
  isYoung?: boolean;
}

export function candidate(phase: Phase, at: number, fields: CandidateFields = {}): Candidate {
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
    label: labelsOf({ __name__: 'up', job: 'node' }),
    ...fields,
    phase,
  });
}

/** Onset, peak and end. */
export function candidatesOf(told: Told): Candidate[] {
  const { labels, onset, end, peak = onset, score = 2, value = 50, expected = 10 } = told;
  const [lower, upper] = told.band ?? [5, 15];
  const fields = {
    tenant: told.tenant ?? '',
    fingerprint: fingerprintOf({ ...labels, '': told.tenant ?? '' }),
    onsetMs: BigInt(onset),
    ...{ value, expected, lower, upper },
    cause: told.cause ?? Cause.MAGNITUDE,
    label: labelsOf(labels),
    isYoung: told.isYoung ?? false,
  };
  const rows = [candidate(Phase.ONSET, onset, { ...fields, score: Math.min(score, 1.1) })];
  rows.push(candidate(Phase.PEAK, peak, { ...fields, score }));
  if (end !== undefined) rows.push(candidate(Phase.END, end, { ...fields, score: 0.1 }));
  return rows;
}

export function anomalyId(told: Pick<Told, 'labels' | 'onset' | 'tenant'>): string {
  const fingerprint = fingerprintOf({ ...told.labels, '': told.tenant ?? '' });
  return `${fingerprint.toString(16).padStart(16, '0')}-${told.onset}`;
}

function labelsOf(labels: Readonly<Record<string, string>>) {
  return Object.entries(labels).map(([name, value]) => ({ name, value }));
}

/** FNV-1a; any number that differs between the series of a test will do. */
function fingerprintOf(labels: Readonly<Record<string, string>>): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(JSON.stringify(Object.entries(labels).sort()))) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return hash;
}
