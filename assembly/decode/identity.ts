// What a series is called once its labels are added up: its fingerprint, its partition and, when
// replicas are told apart, its claim. xxhash.ts draws the hashes.

import { beginClaims, claimOf, noteTimes } from './claims';
import { histogramStem } from './families';
import { metricBytes, metricStart, present, sum, takeOut, tenantHash } from './labels';
import { SeriesRecord, settings } from './layout';
import { boundBit, boundHash, claimBits, partitionSet, replicaHash, sumOf } from './names';
import { results } from './results';
import { finish, xxh64, xxh64Pair } from './xxhash';

/** XXH64 of "__name__". */
const METRIC_NAME_HASH: u64 = 0xd1e5305c7cea71bf;

export function beginIdentities(): void {
  beginClaims();
}

/** Once the labels and the points of a series that is not rejected are known. */
export function identify(record: SeriesRecord, series: u32, futureAfter: i64): void {
  record.claim = 0;
  if (claimBits !== 0 && (present & claimBits) === claimBits) {
    const claim = claimOf(series);
    record.claim = claim;
    if (claim !== 0) {
      takeOut(replicaHash());
      noteTimes(record, futureAfter);
    } else {
      results().unclaimed += record.samples + record.histograms;
    }
  }
  record.fingerprint = finish(sum);
  const set = partitionSet(present);
  const hash = finish(set !== 0 ? sumOf(set, tenantHash) : familySum());
  record.partition = <u32>(((hash >> 32) * <u64>settings().partitions) >> 32);
}

/**
 * All labels but the bound of a bucket, and of the metric's name its stem: so all series of one
 * histogram meet, and nothing else is drawn together.
 */
function familySum(): u64 {
  let family = sum;
  if ((present & boundBit) !== 0) family -= boundHash();
  const stem = histogramStem(metricStart, metricBytes);
  if (stem === metricBytes) return family;
  family -= xxh64Pair(METRIC_NAME_HASH, xxh64(metricStart, metricBytes));
  return family + xxh64Pair(METRIC_NAME_HASH, xxh64(metricStart, stem));
}
