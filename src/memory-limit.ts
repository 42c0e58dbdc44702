// How many series fit into the memory that this process may use. The kernel kills a process that passes its cgroup's
// limit, without a word; so the ceiling on series is derived from that limit before the first sample comes, and what is
// over the ceiling is refused and counted.
//
//   may use  = the smallest of the machine's memory and the limits of our cgroup and its parents
//   for all  = limits.memory of it (75 %), less what the process needs with no series at all
//   series   = for all / bytes a series costs, at most ingest.maxSeries; an equal share for each partition
//
// cgroup v2 keeps the limit in memory.max, v1 in memory.limit_in_bytes
// (https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html).

import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import {
  BYTES_PER_SERIES,
  PROCESS_BYTES,
  SERIES_PER_PARTITION_MAX,
  WINDOW_BYTES_PER_SERIES,
} from './limits.js';
import type { Metrics } from './metrics.js';

export interface MemoryAllowance {
  bytes: number;
  /** `cgroup v2`, `cgroup v1` or `machine`. */
  source: string;
}

/** `root` is where `/proc` and `/sys` are looked for. Never rejects: without cgroups the machine is the limit. */
export async function memoryAllowance(root = '/'): Promise<MemoryAllowance> {
  let allowance: MemoryAllowance = { bytes: totalmem(), source: 'machine' };
  for (const { path, source } of await limitFiles(root)) {
    const bytes = limitOf(await readIfThere(path));
    if (bytes !== undefined && bytes < allowance.bytes) allowance = { bytes, source };
  }
  return allowance;
}

/** So that an alert can compare what is used with it: past it the kernel ends the process. */
export function observeMemory(metrics: Metrics, { bytes }: MemoryAllowance): void {
  const metric = {
    name: 'treeline_memory_limit_bytes',
    help: 'Memory that this process may use: the smallest of the machine and the limits of its cgroups',
  };
  metrics.observe('gauge', metric, () => [{ labels: {}, value: bytes }]);
}

export interface SeriesCeiling {
  perPartition: number;
  total: number;
  /** The setting that decides. */
  boundBy: 'ingest.maxSeries' | 'limits.memory' | 'one partition';
  /** What limits.memory comes to. */
  memoryBytes: number;
  /** Series that fit into it. */
  fitting: number;
}

export interface CeilingSettings {
  /** Of limits.memory: `75%` or `2GB`. */
  memory: string;
  maxSeries: number;
  partitions: number;
  /**
   * Any process may come to own any partition, and must admit what its owner before admitted: then nothing of this
   * machine decides.
   */
  isShared?: boolean;
  /** Each series keeps the newest values that a deep check looks at. */
  hasWindows?: boolean;
  sizeBytes: (text: string) => number;
}

export function seriesCeiling(
  allowance: MemoryAllowance,
  settings: CeilingSettings,
): SeriesCeiling {
  const { memory, maxSeries, partitions } = settings;
  const memoryBytes = memory.endsWith('%')
    ? Math.floor((allowance.bytes * Number.parseInt(memory, 10)) / 100)
    : settings.sizeBytes(memory);
  const windowBytes = settings.hasWindows === true ? WINDOW_BYTES_PER_SERIES : 0;
  const bytesPerSeries = BYTES_PER_SERIES + windowBytes;
  const fitting = Math.floor((memoryBytes - PROCESS_BYTES) / bytesPerSeries);
  const wanted = settings.isShared === true ? maxSeries : Math.min(maxSeries, fitting);
  // Rounded up: with fewer series than partitions each partition still takes one.
  const share = Math.max(1, Math.ceil(wanted / partitions));
  const perPartition = Math.min(share, SERIES_PER_PARTITION_MAX);
  const boundBy =
    perPartition < share
      ? 'one partition'
      : wanted < maxSeries
        ? 'limits.memory'
        : 'ingest.maxSeries';
  return { perPartition, total: perPartition * partitions, boundBy, memoryBytes, fitting };
}

/** Of our own cgroup and all above it: the kernel enforces each of them. */
async function limitFiles(root: string): Promise<{ path: string; source: string }[]> {
  const files: { path: string; source: string }[] = [];
  const text = (await readIfThere(join(root, 'proc/self/cgroup'))) ?? '';
  // Lines `0::/path` (v2) and `4:memory:/path` (v1); man 7 cgroups. In a container with its own cgroup namespace the
  // path is /; without one it may lie outside of what is mounted, so the mount point itself is looked at, too.
  for (const line of text.split('\n')) {
    const [, hierarchy, controllers, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    const isV1 = controllers?.split(',').includes('memory') === true;
    if (!isV1 && !(hierarchy === '0' && controllers === '')) continue;
    const mount = join(root, isV1 ? 'sys/fs/cgroup/memory' : 'sys/fs/cgroup');
    const file = isV1 ? 'memory.limit_in_bytes' : 'memory.max';
    const source = isV1 ? 'cgroup v1' : 'cgroup v2';
    for (let at = path; ; at = dirname(at)) {
      files.push({ path: join(mount, at, file), source });
      if (at === '/') break;
    }
  }
  return files;
}

/** Undefined for `max` and for v1's way to say that there is none, a number near 2^63. */
function limitOf(text: string | undefined): number | undefined {
  const bytes = Number(text?.trim());
  return Number.isFinite(bytes) && bytes > 0 && bytes < 2 ** 60 ? bytes : undefined;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // ENOENT, EACCES or ENOTDIR: not this kind of cgroup, or not mounted here.
    return undefined;
  }
}
