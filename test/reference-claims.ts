// Which replica of which cluster the series of a request claim to come from, and which of the claims
// are let in: the part of the reference decoder that keeps pairs of Prometheus servers apart.

import { FUTURE_MS_MAX } from '../src/limits.js';
import type { ReplicaRules } from '../src/receiver/wasm-decoder.js';
import { decodeText, type Resolved } from './reference-labels.js';
import type { SeriesMessage } from './reference-messages.js';

/** Of one request; further ones are not told apart. */
const CLAIMS_MAX = 64;

export interface Claimed extends Resolved {
  series: SeriesMessage;
}

interface Claim {
  cluster: string;
  replica: string;
  newest: bigint | undefined;
}

export interface Claims {
  /** Has a claim: then its replica label is no label of its own. */
  has(series: SeriesMessage): boolean;
  isOut(series: SeriesMessage): boolean;
  /** Every series that is not rejected is out, and there is one. */
  isAllOut: boolean;
  /** Samples of series for whose claim there was no room. */
  unclaimed: number;
}

export function judgeClaims(
  all: readonly Claimed[],
  rules: ReplicaRules | undefined,
  options: { tenant: string; nowMs: number },
): Claims {
  const bySeries = new Map<SeriesMessage, string>();
  const claims = new Map<string, Claim>();
  let unclaimed = 0;
  for (const { series, labels, reason } of rules === undefined ? [] : all) {
    if (reason !== undefined) continue;
    const textOf = (wanted: string): string => {
      const found = labels.find(({ name }) => decodeText(name) === wanted);
      return found === undefined ? '' : decodeText(found.value);
    };
    const cluster = textOf(rules!.clusterLabel);
    const replica = textOf(rules!.replicaLabel);
    if (cluster === '' || replica === '') continue;
    const key = JSON.stringify([cluster, replica]);
    if (!claims.has(key) && claims.size === CLAIMS_MAX) {
      unclaimed += series.samples.length + series.histograms.length;
      continue;
    }
    const claim = claims.get(key) ?? { cluster, replica, newest: undefined };
    claims.set(key, claim);
    bySeries.set(series, key);
    for (const timestamp of timesOf(series, options.nowMs)) {
      if (timestamp > (claim.newest ?? -(2n ** 63n))) claim.newest = timestamp;
    }
  }
  const out = new Set<string>();
  for (const [key, { newest, ...claim }] of claims) {
    const newestMs = newest === undefined ? undefined : Number(newest);
    if (!rules!.judge({ ...claim, tenant: options.tenant, newestMs })) out.add(key);
  }
  const isOut = (series: SeriesMessage) => out.has(bySeries.get(series) ?? '');
  const sound = all.filter(({ reason }) => reason === undefined);
  return {
    has: (series) => bySeries.has(series),
    isOut,
    isAllOut: claims.size > 0 && sound.every(({ series }) => isOut(series)),
    unclaimed,
  };
}

/** Of what may be logged. */
function timesOf(series: SeriesMessage, nowMs: number): bigint[] {
  const last = BigInt(nowMs + FUTURE_MS_MAX);
  const { samples, histograms } = series;
  const sound = histograms.filter(({ reason }) => reason === undefined);
  return [...samples, ...sound].map(({ timestamp }) => timestamp).filter((each) => each <= last);
}
