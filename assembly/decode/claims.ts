// Pairs of Prometheus servers (docs/decisions/0007-replica-pairs.md): which replica of which cluster a
// series claims to come from. Nearly always all series of a request have one claim; a relay may
// mix several. They are listed while the request is walked, the host judges each once before
// anything is emitted, and then the series of those that are out are left out. Claims of one request
// are told apart by their labels' hashes, as series are; between requests the host compares texts.

import {
  CLAIMS_MAX,
  Claim,
  claimsRegion,
  histogramRecord,
  SeriesRecord,
  sampleRecord,
} from './layout';
import { clusterHash, replicaHash } from './names';
import { results } from './results';

/** Newest of a claim without a sample that may be logged. */
const NO_TIME: i64 = i64.MIN_VALUE;

let last: u32 = 0;

export function claimRecord(index: u32): Claim {
  return changetype<Claim>(claimsRegion + <usize>index * offsetof<Claim>());
}

export function beginClaims(): void {
  last = 0;
}

/** Of the current series, which has both labels; its index from 1, 0 when there is no more room. */
export function claimOf(series: u32): u32 {
  const r = results();
  const cluster = clusterHash();
  const replica = replicaHash();
  if (last < r.claims && isOf(claimRecord(last), cluster, replica)) return last + 1;
  for (let i: u32 = 0; i < r.claims; i++) {
    if (!isOf(claimRecord(i), cluster, replica)) continue;
    last = i;
    return i + 1;
  }
  if (r.claims === CLAIMS_MAX) return 0;
  const claim = claimRecord(r.claims);
  claim.clusterHash = cluster;
  claim.replicaHash = replica;
  claim.newestMs = NO_TIME;
  claim.series = series;
  claim.isOut = 0;
  last = r.claims;
  return ++r.claims;
}

/** Only what may be logged counts: a time in the far future would keep all others out for ever. */
export function noteTimes(record: SeriesRecord, futureAfter: i64): void {
  const claim = claimRecord(record.claim - 1);
  let newest = claim.newestMs;
  for (let i: u32 = 0; i < record.samples; i++) {
    const timestamp = sampleRecord(record.firstSample + i).timestamp;
    if (timestamp <= futureAfter && timestamp > newest) newest = timestamp;
  }
  for (let i: u32 = 0; i < record.histograms; i++) {
    const histogram = histogramRecord(record.firstHistogram + i);
    if (histogram.reason === 0 && histogram.timestamp > newest) newest = histogram.timestamp;
  }
  claim.newestMs = newest;
}

export function isLeftOut(record: SeriesRecord): bool {
  return record.claim !== 0 && claimRecord(record.claim - 1).isOut !== 0;
}

function isOf(claim: Claim, cluster: u64, replica: u64): bool {
  return claim.clusterHash === cluster && claim.replicaHash === replica;
}
