// decode.wasm: from the compressed body of a remote-write request to blocks for the log, in one
// call as long as every series is known. The host writes the settings, calls `placeRegions`, and
// instantiates again with that much memory; then per request it fills the body and the tenant and
// calls `decode`. When that returns CLAIMED, the host judges the claims (`claimedBy`, `newestOf`,
// `leaveOutClaim`) and calls `proceed`. When either returns n > 0, the host says what is to become of
// the n new series (`newSeries`, `labelsOf`, `settle`) and calls `emit`. Imports are the memory and
// abort.

import { claimRecord, isLeftOut } from './claims';
import { leaveAllOut, listKeptLabels, listLabels, setVersion, writeBlocks } from './columns';
import { failureCode as code, failurePosition as position } from './failure';
import { beginIdentities } from './identity';
import { setTenant } from './labels';
import {
  bodyRegion,
  CacheEntry,
  decodedRegion,
  familiesRegion,
  newSeriesRegion,
  partitionsRegion,
  seriesRecord,
  settings,
  spansRegion,
  tenantRegion,
  unitsRegion,
} from './layout';
import { clearResults, results, resultsStart } from './results';
import {
  beginEpoch,
  beginRequest,
  cacheClears as clears,
  findEntry,
  forgetAll,
  settleEntry,
  wantsDisposition,
} from './series-cache';
import { uncompress } from './snappy';
import { learnFamilies, walkRequest as walkRequestOf1 } from './walk-v1';
import { walkRequest as walkRequestOf2 } from './walk-v2';

export { adoptTables, knownFamilies, knownUnits } from './families';
export { placeRegions } from './layout';
export { addName, addPartitionSet, addRole } from './names';

/** Instead of a number of new series. */
const CLAIMED: i32 = -2;

let tenantLength: u32 = 0;
let nowSeconds: u32 = 0;
let futureAfter: i64 = 0;

/**
 * The number of new series; CLAIMED; or -1: then `failureCode` and `failurePosition` say why. Whatever
 * it is, nothing of a request that is corrupt has left a trace.
 */
export function decode(bodyBytes: u32, tenantBytes: u32, nowMs: f64, version: u32): i32 {
  assert(bodyBytes <= settings().bodyBytesMax && tenantBytes <= settings().tenantBytesMax);
  clearResults();
  tenantLength = tenantBytes;
  nowSeconds = <u32>(nowMs / 1000);
  futureAfter = <i64>nowMs + <i64>settings().futureMs;
  const end = uncompress(bodyRegion, bodyBytes, decodedRegion, settings().decodedBytesMax);
  if (end === 0) return -1;
  setTenant(tenantRegion, tenantBytes);
  setVersion(version);
  beginIdentities();
  if (version === 1) {
    if (walkRequestOf1(decodedRegion, end, futureAfter) === 0) return -1;
    if (results().metadata !== 0 && learnFamilies(decodedRegion, end)) {
      results().hasFamilyNews = 1;
      beginEpoch();
    }
  } else if (walkRequestOf2(decodedRegion, end, futureAfter) === 0) {
    return -1;
  }
  return results().claims === 0 ? proceed() : CLAIMED;
}

/** The same, once the claims are judged. */
export function proceed(): i32 {
  if (results().claims !== 0 && leaveAllOut()) return 0;
  lookUp();
  const news = results().newSeries;
  if (news === 0) emit();
  return <i32>news;
}

export function emit(): void {
  writeBlocks(tenantLength, nowSeconds, futureAfter);
}

/** Only after the whole request was walked: a corrupt one leaves no trace in the cache. */
function lookUp(): void {
  beginRequest();
  const r = results();
  for (let i: u32 = 0; i < r.series; i++) {
    const record = seriesRecord(i);
    if (record.reason !== 0 || isLeftOut(record)) continue;
    const entry = findEntry(record.fingerprint);
    record.entry = <u32>changetype<usize>(entry);
    if (!wantsDisposition(entry)) continue;
    store<u32>(newSeriesRegion + ((<usize>r.newSeries) << 2), i);
    r.newSeries++;
  }
}

/** The series record of the `index`th new series. */
export function newSeries(index: u32): u32 {
  assert(index < results().newSeries);
  return load<u32>(newSeriesRegion + ((<usize>index) << 2));
}

export function settle(series: u32, disposition: u32): void {
  settleEntry(changetype<CacheEntry>(<usize>seriesRecord(series).entry), disposition);
}

/** Lists the labels at `spansStart`: those that make the series, or all as they were sent. */
export function labelsOf(series: u32, onlyKept: bool): u32 {
  assert(series < results().series);
  const record = seriesRecord(series);
  return onlyKept ? listKeptLabels(record) : listLabels(record);
}

/** The first series that names this claim. */
export function claimedBy(claim: u32): u32 {
  assert(claim < results().claims);
  return claimRecord(claim).series;
}

/** The newest timestamp of its samples that may be logged; -2^63 when there is none. */
export function newestOf(claim: u32): f64 {
  return <f64>claimRecord(claim).newestMs;
}

export function leaveOutClaim(claim: u32): void {
  claimRecord(claim).isOut = 1;
}

export function forgetAnnouncements(): void {
  forgetAll();
}

export function bodyStart(): usize {
  return bodyRegion;
}

export function settingsStart(): usize {
  return changetype<usize>(settings());
}

export function tenantStart(): usize {
  return tenantRegion;
}

export function spansStart(): usize {
  return spansRegion;
}

export function resultsAt(): usize {
  return resultsStart();
}

export function partitionsStart(): usize {
  return partitionsRegion;
}

export function familiesStart(): usize {
  return familiesRegion;
}

export function unitsStart(): usize {
  return unitsRegion;
}

export function cacheClears(): u32 {
  return clears;
}

export function failureCode(): u32 {
  return code;
}

/** Counted from the start of the body for snappy, of the decoded bytes for protobuf. */
export function failurePosition(): u32 {
  return <u32>(position < decodedRegion ? position - bodyRegion : position - decodedRegion);
}
