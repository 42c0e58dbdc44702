// decode.wasm: from the compressed body of a remote-write request to blocks for the log, in one
// call as long as every series is known. The host writes the settings, calls `placeRegions`, and
// instantiates again with that much memory; then per request it fills the body and the tenant and
// calls `decode`. When that returns n > 0, the host says what is to become of the n new series
// (`newSeries`, `labelsOf`, `settle`) and calls `emit`. Imports are the memory and abort.

import { listKeptLabels, listLabels, setVersion, writeBlocks } from './columns';
import { failureCode as code, failurePosition as position } from './failure';
import { setTenant } from './labels';
import {
  bodyRegion,
  CacheEntry,
  decodedRegion,
  newSeriesRegion,
  partitionsRegion,
  seriesRecord,
  settings,
  spansRegion,
  tenantRegion,
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

export { placeRegions } from './layout';
export { addName, addPartitionSet } from './names';

let tenantLength: u32 = 0;
let nowSeconds: u32 = 0;
let futureAfter: i64 = 0;

/** The number of new series, or -1: then `failureCode` and `failurePosition` say why. */
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
  if (version === 1) {
    if (walkRequestOf1(decodedRegion, end, futureAfter) === 0) return -1;
    if (results().metadata !== 0 && learnFamilies(decodedRegion, end)) beginEpoch();
  } else if (walkRequestOf2(decodedRegion, end, futureAfter) === 0) {
    return -1;
  }
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
    if (record.reason !== 0) continue;
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
