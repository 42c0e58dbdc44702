// Decoders of others beside ours, in the same run and on the same bodies: VictoriaMetrics' and
// Prometheus' own, in Go (bench/peers-go/), fetched and built once into the cache, and only when the
// bench is asked for them. VictoriaMetrics is not to be had from the Go module proxy; its decoder comes
// from Debian's package of its sources, or from a checkout of one's own with --victoriametrics DIR.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { uncompressSync } from 'snappy';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import type { Version } from '../src/receiver/bad-request.js';
import { goProgram, type ModuleFolder } from '../test/go-peers/go-program.js';
import { packageFolder } from '../test/peers.js';

export interface DecodePeers {
  /** Samples per CPU-second of each peer that knows the version. Rejects when one decodes wrongly. */
  measure(version: Version, body: Uint8Array): Promise<{ name: string; rate: number }[]>;
}

interface Report {
  samplesPerCpuSecond: number;
  samples: number;
  sum: string;
}

const run = promisify(execFile);
const RUN_MS_MAX = 60_000;
const MODULE = 'github.com/VictoriaMetrics/VictoriaMetrics';
const PACKAGE = 'golang-github-victoriametrics-victoriametrics-dev';
/** In the decoder since 2025. */
const CURRENT = 'lib/prompb/write_request_unmarshaler.go';
const NAMES: Readonly<Record<string, string>> = {
  'victoriametrics-1': 'VictoriaMetrics, Go',
  'prometheus-1': 'Prometheus, Go',
  'prometheus-2': 'Prometheus, Go',
};

/** `checkout`: a source tree of VictoriaMetrics. */
export async function setUpDecodePeers(checkout: string | undefined): Promise<DecodePeers> {
  const tree = join('usr', 'share', 'gocode', 'src', MODULE);
  const root =
    checkout ?? join(await packageFolder(PACKAGE, join(tree, 'lib', 'prompb', 'util.go')), tree);
  const isCurrent = existsSync(join(root, CURRENT));
  const folder: ModuleFolder = {
    root,
    paths: isCurrent
      ? ['lib/prompb', 'lib/slicesutil', 'lib/bytesutil/bytesutil.go']
      : ['lib/prompb'],
  };
  const binary = await goProgram({
    name: 'decode-peers',
    // Sources lie in the clone; the compiled bench runs from dist/bench/.
    source: fileURLToPath(new URL('../../bench/peers-go', import.meta.url)),
    target: '.',
    flags: isCurrent ? ['-tags', 'current'] : [],
    folders: { [MODULE]: folder },
  });
  return { measure: (version, body) => measure(binary, version, body) };
}

async function measure(
  binary: string,
  version: Version,
  body: Uint8Array,
): Promise<{ name: string; rate: number }[]> {
  const directory = mkdtempSync(join(tmpdir(), 'treeline-decode-'));
  const path = join(directory, 'body');
  writeFileSync(path, body);
  try {
    const found: { name: string; rate: number }[] = [];
    for (const [decoder, name] of Object.entries(NAMES)) {
      if (!decoder.endsWith(`-${version}`)) continue;
      const { stdout } = await run(binary, ['-decoder', decoder, path], { timeout: RUN_MS_MAX });
      const { samplesPerCpuSecond, sum } = JSON.parse(stdout) as Report;
      if (version === 1) assert.equal(sum, sumOf(body), `${name} decodes something else`);
      found.push({ name, rate: samplesPerCpuSecond });
    }
    return found;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** As bench/peers-go/main.go adds them up: the bits of each value, and its timestamp. */
function sumOf(body: Uint8Array): string {
  const { timeseries } = fromBinary(
    WriteRequestSchema,
    uncompressSync(Buffer.from(body)) as Buffer,
  );
  const value = new Float64Array(1);
  const bits = new BigUint64Array(value.buffer);
  let sum = 0n;
  for (const { samples } of timeseries) {
    for (const sample of samples) {
      value[0] = sample.value;
      sum += (bits[0] as bigint) ^ BigInt.asUintN(64, sample.timestamp);
    }
  }
  return BigInt.asUintN(64, sum).toString();
}
