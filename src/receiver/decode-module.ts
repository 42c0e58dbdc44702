// decode.wasm as a module: what it exports, and how an instance of it is made with just the memory that our limits need.
// Its host is wasm-decoder.ts.

import assert from 'node:assert/strict';
import {
  ANNOUNCE_INTERVAL_MS,
  BODY_BYTES_MAX,
  DECODED_BYTES_MAX,
  FAMILY_ENTRIES,
  FUTURE_MS_MAX,
  HISTOGRAM_BYTES_MAX,
  LABEL_NAME_BYTES_MAX,
  LABEL_VALUE_BYTES_MAX,
  LABELS_PER_SERIES_MAX,
  REQUEST_EXEMPLARS_MAX,
  REQUEST_LABEL_BYTES_MAX,
  REQUEST_METADATA_MAX,
  REQUEST_REFERENCES_MAX,
  REQUEST_SAMPLES_MAX,
  REQUEST_SERIES_MAX,
  REQUEST_SYMBOLS_MAX,
  SERIES_CACHE_ENTRIES,
  TENANT_BYTES_MAX,
  UNIT_BYTES_MAX,
  UNITS_MAX,
} from '../limits.js';

const PAGE_BYTES = 65_536;

/** What assembly/decode/index.ts exports. Positions and counts; no call grows the memory. */
export interface DecodeExports {
  placeRegions(): number;
  addName(start: number, bytes: number, stripped: boolean): number;
  addRole(index: number, role: number): void;
  addPartitionSet(bits: number): void;
  decode(bodyBytes: number, tenantBytes: number, nowMs: number, version: number): number;
  proceed(): number;
  claimedBy(claim: number): number;
  newestOf(claim: number): number;
  leaveOutClaim(claim: number): void;
  emit(): void;
  newSeries(index: number): number;
  settle(series: number, disposition: number): void;
  labelsOf(series: number, onlyKept: boolean): number;
  forgetAnnouncements(): void;
  bodyStart(): number;
  settingsStart(): number;
  tenantStart(): number;
  spansStart(): number;
  resultsAt(): number;
  partitionsStart(): number;
  familiesStart(): number;
  unitsStart(): number;
  knownFamilies(): number;
  knownUnits(): number;
  adoptTables(families: number, units: number): void;
  cacheClears(): number;
  failureCode(): number;
  failurePosition(): number;
}

/** The memory never grows. */
export function openDecodeModule(
  module: WebAssembly.Module,
  partitions: number,
): { exports: DecodeExports; memory: WebAssembly.Memory } {
  // A first instance only says how much memory these settings need: a module cannot tell without one.
  const probe = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const bytes = instantiate(module, { memory: probe, partitions }).needed;
  const pages = Math.ceil(bytes / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { exports, needed } = instantiate(module, { memory, partitions });
  assert.equal(needed, bytes);
  return { exports, memory };
}

function instantiate(
  module: WebAssembly.Module,
  options: { memory: WebAssembly.Memory; partitions: number },
): { exports: DecodeExports; needed: number } {
  const { memory, partitions } = options;
  const abort = (_message: number, _file: number, line: number): never => {
    throw new Error(`decode.wasm: assertion failed in line ${line}`);
  };
  const instance = new WebAssembly.Instance(module, { env: { memory, abort } });
  const exports = instance.exports as unknown as DecodeExports;
  // In the order of Settings in assembly/decode/layout.ts.
  const limits = [
    BODY_BYTES_MAX,
    DECODED_BYTES_MAX,
    REQUEST_SERIES_MAX,
    REQUEST_SAMPLES_MAX,
    LABELS_PER_SERIES_MAX,
    LABEL_NAME_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    TENANT_BYTES_MAX,
    SERIES_CACHE_ENTRIES,
    partitions,
    FUTURE_MS_MAX,
    ANNOUNCE_INTERVAL_MS,
    REQUEST_SYMBOLS_MAX,
    REQUEST_REFERENCES_MAX,
    REQUEST_LABEL_BYTES_MAX,
    REQUEST_EXEMPLARS_MAX,
    REQUEST_METADATA_MAX,
    HISTOGRAM_BYTES_MAX,
    FAMILY_ENTRIES,
    UNITS_MAX,
    UNIT_BYTES_MAX,
  ];
  new Uint32Array(memory.buffer, exports.settingsStart(), limits.length).set(limits);
  return { exports, needed: exports.placeRegions() };
}
