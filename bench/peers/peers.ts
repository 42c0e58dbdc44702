// Forests of others beside ours, in the same run and on the same rows: AWS Random Cut Forest (Java,
// by Maven), river's HalfSpaceTrees and scikit-learn's IsolationForest (Python, by pip). What they
// need is fetched by their own clients into a cache outside the clone, once, and only when the
// bench is asked for them. Rows go there and back through a folder of binary files, so that no
// process start or text parsing is counted as the peer's time.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Detector, type Verdicts, withRecords } from '../baselines.js';
import type { LabelledSeries } from '../labelled-series.js';

export interface Peer extends Detector {
  /** Of the last `detect`, measured inside the peer. */
  nanosPerRow(): number;
}

interface Program {
  name: string;
  /** Whether its second column says where it would call by itself. */
  hasCalls: boolean;
  command: string;
  args(folder: string, seriesCount: number): string[];
}

const run = promisify(execFile);
/** The peers take minutes where ours takes seconds. */
const RUN_MS_MAX = 3 * 60 * 60 * 1000;
const SETUP_MS_MAX = 15 * 60 * 1000;
const SEED = 1;
/** Sources lie in the clone; the compiled bench runs from dist/bench/peers/. */
const SOURCES = fileURLToPath(new URL('../../../bench/peers/', import.meta.url));

/** Fetches what is missing; says what it does, as this may take minutes. */
export async function setUpPeers(log: (line: string) => void): Promise<Peer[]> {
  const cacheHome = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const cache = join(cacheHome, 'treeline-bench-peers');
  mkdirSync(cache, { recursive: true });
  const jars = await setUpJava(join(cache, 'jars'), log);
  const python = await setUpPython(join(cache, 'python'), log);
  const script = join(SOURCES, 'python_peers.py');
  const pythonPeer = (peer: string) => (folder: string, seriesCount: number) => [
    ...[script, folder, String(seriesCount), String(SEED), peer],
  ];
  const randomCut = once(
    peerOf({
      name: 'AWS Random Cut Forest',
      hasCalls: true,
      command: 'java',
      args: (folder, seriesCount) => [
        ...['-cp', join(jars, '*'), join(SOURCES, 'RandomCutForestPeer.java')],
        ...[folder, String(seriesCount), String(SEED)],
      ],
    }),
  );
  return [
    randomCut,
    gradesOf(randomCut),
    peerOf({
      name: 'river HalfSpaceTrees',
      hasCalls: false,
      command: python,
      args: pythonPeer('half-space-trees'),
    }),
    peerOf({
      name: 'scikit-learn IsolationForest',
      hasCalls: true,
      command: python,
      args: pythonPeer('isolation-forest'),
    }),
  ];
}

async function setUpJava(jars: string, log: (line: string) => void): Promise<string> {
  const done = join(jars, 'complete');
  if (existsSync(done)) return jars;
  log(`Fetching AWS Random Cut Forest into ${jars}`);
  const goal = ['dependency:copy-dependencies', `-DoutputDirectory=${jars}`];
  await run('mvn', ['-q', '-B', '-f', join(SOURCES, 'pom.xml'), ...goal], {
    timeout: SETUP_MS_MAX,
  });
  writeFileSync(done, '');
  return jars;
}

async function setUpPython(folder: string, log: (line: string) => void): Promise<string> {
  const python = join(folder, 'bin', 'python');
  const done = join(folder, 'complete');
  if (existsSync(done)) return python;
  log(`Fetching river and scikit-learn into ${folder}`);
  await run('python3', ['-m', 'venv', folder], { timeout: SETUP_MS_MAX });
  const requirements = join(SOURCES, 'requirements.txt');
  await run(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements], {
    timeout: SETUP_MS_MAX,
  });
  writeFileSync(done, '');
  return python;
}

/**
 * AWS Random Cut Forest by its other number, the grade of its own thresholder: what it calls an
 * alarm, and better calibrated across series than its score. One run serves both.
 */
function gradesOf(peer: Peer): Peer {
  const detect = async (series: readonly LabelledSeries[]): Promise<Verdicts[]> => {
    const verdicts = await peer.detect(series);
    return verdicts.map(({ scores, own }) => withRecords(own?.calls ?? scores, own?.calls));
  };
  return { name: `${peer.name}, its grade`, detect, nanosPerRow: peer.nanosPerRow };
}

/** Asked twice about the same series, answers from memory. */
function once(peer: Peer): Peer {
  let last: { series: readonly LabelledSeries[]; verdicts: Verdicts[] } | undefined;
  const detect = async (series: readonly LabelledSeries[]): Promise<Verdicts[]> => {
    if (last === undefined || !isSame(last.series, series))
      last = { series, verdicts: await peer.detect(series) };
    return last.verdicts;
  };
  return { ...peer, detect };
}

function isSame(a: readonly LabelledSeries[], b: readonly LabelledSeries[]): boolean {
  return a.length === b.length && a.every(({ name }, at) => name === b[at]!.name);
}

/** Alarms are made of a peer's scores and calls by the rule that makes those of the baselines. */
function peerOf({ name, hasCalls, command, args }: Program): Peer {
  let nanosPerRow = Number.NaN;
  const detect = async (series: readonly LabelledSeries[]): Promise<Verdicts[]> => {
    const folder = mkdtempSync(join(tmpdir(), 'treeline-peer-'));
    try {
      series.forEach((one, at) => {
        writeFileSync(join(folder, `${at}.in`), pairsOf(one));
      });
      const { stdout } = await run(command, args(folder, series.length), { timeout: RUN_MS_MAX });
      const spent = JSON.parse(stdout) as { nanos: number; rows: number };
      nanosPerRow = spent.nanos / spent.rows;
      return series.map((one, at) =>
        verdictsOf(readFileSync(join(folder, `${at}.out`)), one.values.length, hasCalls),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
  return { name, detect, nanosPerRow: () => nanosPerRow };
}

function pairsOf({ timestampsMs, values }: LabelledSeries): Uint8Array {
  const pairs = new Float64Array(2 * values.length);
  values.forEach((value, row) => {
    pairs[2 * row] = timestampsMs[row]! / 1000;
    pairs[2 * row + 1] = value;
  });
  return new Uint8Array(pairs.buffer);
}

function verdictsOf(bytes: Buffer, rows: number, hasCalls: boolean): Verdicts {
  assert.equal(bytes.length, 16 * rows, 'A peer answers every row');
  const pairs = new Float64Array(new Uint8Array(bytes).buffer);
  const column = (offset: number): Float64Array =>
    Float64Array.from({ length: rows }, (_, row) => pairs[2 * row + offset]!);
  return withRecords(column(0), hasCalls ? column(1) : undefined);
}
