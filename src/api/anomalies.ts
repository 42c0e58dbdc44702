// Folds candidates into anomalies: onset, peak, end. The view is a function of the candidates log and nothing else, so
// it is rebuilt by reading the log again, and a candidate that comes twice changes nothing.

import { type Candidate, Cause, Phase } from '../gen/candidate_pb.js';
import { ANOMALIES_MAX } from '../limits.js';
import { fingerprintText, type Label, seriesText } from '../series.js';

export interface Anomaly {
  id: string;
  tenant: string;
  fingerprint: string;
  series: string;
  labels: readonly Label[];
  state: 'open' | 'closed';
  onsetMs: number;
  peakMs: number;
  endMs: number | undefined;
  /** Of the highest sample so far. */
  score: number;
  value: number;
  expected: number;
  lower: number;
  upper: number;
  cause: string;
}

export class Anomalies {
  /** In the order in which they were first heard of. */
  readonly #byId = new Map<string, Anomaly>();

  get count(): number {
    return this.#byId.size;
  }

  apply(candidate: Candidate): void {
    const fingerprint = fingerprintText(
      Number(candidate.fingerprint & 0xffffffffn),
      Number(candidate.fingerprint >> 32n),
    );
    const onsetMs = Number(candidate.onsetMs);
    const id = `${fingerprint}-${onsetMs}`;
    const timestampMs = Number(candidate.timestampMs);
    let anomaly = this.#byId.get(id);
    if (anomaly === undefined) {
      anomaly = open(id, fingerprint, candidate);
      this.#byId.set(id, anomaly);
      this.#forgetOldest();
    }
    if (candidate.phase === Phase.END) {
      anomaly.state = 'closed';
      anomaly.endMs = timestampMs;
    } else if (candidate.score > anomaly.score) {
      anomaly.peakMs = timestampMs;
      const { score, value, expected, lower, upper } = candidate;
      Object.assign(anomaly, {
        score,
        value,
        expected,
        lower,
        upper,
        cause: nameOf(candidate.cause),
      });
    }
  }

  /** Undefined also when it is another tenant's. */
  get(id: string, tenant: string): Anomaly | undefined {
    const anomaly = this.#byId.get(id);
    return anomaly?.tenant === tenant ? anomaly : undefined;
  }

  /** Of one tenant, newest onset first. */
  list(tenant: string): Anomaly[] {
    const own = [...this.#byId.values()].filter((anomaly) => anomaly.tenant === tenant);
    return own.sort((a, b) => b.onsetMs - a.onsetMs || (a.id < b.id ? -1 : 1));
  }

  #forgetOldest(): void {
    if (this.#byId.size <= ANOMALIES_MAX) return;
    for (const [id, { state }] of this.#byId) {
      if (state === 'closed') {
        this.#byId.delete(id);
        return;
      }
    }
    const [first] = this.#byId.keys();
    if (first !== undefined) this.#byId.delete(first);
  }
}

/** One sentence: what was seen, what was expected, since when. */
export function explain(anomaly: Anomaly): string {
  const { value, expected, lower, upper, cause } = anomaly;
  const seen = `${plain(value)} at ${time(anomaly.peakMs)}`;
  if (cause === 'quiet') return `The value has stood still at ${seen} longer than ever before.`;
  if (value > upper)
    return `${seen}, above the expected ${plain(expected)} (up to ${plain(upper)}).`;
  if (value < lower)
    return `${seen}, below the expected ${plain(expected)} (down to ${plain(lower)}).`;
  return `${seen}, within the expected band around ${plain(expected)}, but in a pattern not seen before.`;
}

export function time(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms);
}

function open(id: string, fingerprint: string, candidate: Candidate): Anomaly {
  const { score, value, expected, lower, upper } = candidate;
  return {
    id,
    tenant: candidate.tenant,
    fingerprint,
    series: seriesText(candidate.label),
    labels: candidate.label.map((label) => ({ name: label.name, value: label.value })),
    state: 'open',
    onsetMs: Number(candidate.onsetMs),
    peakMs: Number(candidate.timestampMs),
    endMs: undefined,
    score,
    value,
    expected,
    lower,
    upper,
    cause: nameOf(candidate.cause),
  };
}

function nameOf(cause: Cause): string {
  return Cause[cause].toLowerCase();
}

function plain(value: number): string {
  return String(Number(value.toPrecision(4)));
}
