// `treeline state export|import|verify`: what was learnt, to one file and back, for backups, for another number of
// partitions, and for moving from the embedded log to a cluster. The program must not run on the same data directory
// meanwhile; the lock of the directory sees to that. A file appears under its name only when it is whole.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, existsSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { FOREST_SEED } from '../compose-scorer.js';
import { readSettings } from '../config.js';
import { DATA_DIR_MARKER } from '../data-dir.js';
import { OperatingError } from '../errors.js';
import { exportState, type RecordLayout } from '../scorer/state-export.js';
import { readStateFile, type StateFileSource } from '../scorer/state-file-reader.js';
import { importState } from '../scorer/state-import.js';
import { WasmForest } from '../scorer/wasm-forest.js';
import { version } from '../version.js';
import { loadWasm } from '../wasm-files.js';
import { type Options, sourcesOf } from './config.js';
import { seriesPlacement } from './state-placement.js';
import { withStorage } from './state-storage.js';

/** In place of a file's name. */
const STANDARD_OUTPUT = '-';

export async function stateExport(file: string, options: Options): Promise<void> {
  const { settings } = readSettings(sourcesOf(options));
  const isOnVolume = settings.checkpoint.store === 'volume';
  if (isOnVolume && !existsSync(join(settings.dataDir, DATA_DIR_MARKER))) {
    throw new OperatingError(
      'data_dir_other',
      `${resolve(settings.dataDir)} is not a data directory of Treeline; name it with --data-dir`,
    );
  }
  const isToStdout = file === STANDARD_OUTPUT;
  const output = isToStdout ? toStandardOutput() : await toFile(file);
  try {
    const report = await withStorage(settings, ({ log, store }) =>
      exportState(
        {
          log,
          store,
          layout: layoutOfForest(),
          partitionBy: settings.ingest.partitionBy,
          program: version(),
        },
        output.write,
      ),
    );
    await output.finish();
    const { learnt, recordsBehind, series, scored, histograms, partitions, saved, bytes } = report;
    const json = { file, bytes, series, scored, histograms, partitions, saved, recordsBehind };
    const text =
      `${file}: ${counted(report)} of ${saved} of ${partitions} partitions, ${bytes} bytes, ` +
      `learnt state ${hex(learnt)}`;
    // What goes to standard output is the file.
    const print = isToStdout ? process.stderr : process.stdout;
    show({ ...json, learnt: hex(learnt) }, text, options, print);
    if (recordsBehind > 0) {
      process.stderr.write(
        `treeline: ${recordsBehind} records were logged after the last checkpoints and are not in the file; to have ` +
          'them in it, start the program, stop it, and export again\n',
      );
    }
  } catch (error) {
    await output.discard();
    throw error;
  }
}

export async function stateImport(file: string, options: Options): Promise<void> {
  if (file === STANDARD_OUTPUT) {
    const text = 'Cannot import from standard input: the file is read twice; name a file';
    throw new OperatingError('input_invalid', text);
  }
  const { settings } = readSettings(sourcesOf(options));
  const source = fileSource(file);
  const report = await withStorage(
    settings,
    ({ log, store }) =>
      importState(
        source,
        {
          log,
          store,
          layout: layoutOfForest(),
          place: seriesPlacement(log.partitions, settings.ingest.partitionBy),
        },
        { force: options['force'] === true },
      ),
    { alone: true },
  );
  const { head, counts, learnt, leftOut, partitions, begunAnew, recordsPassed } = report;
  const json = { file, ...counts, partitions, leftOut, begunAnew, recordsPassed };
  const text =
    `${file}: ${counted(counts)} of ${head.partitions} partitions, now in ${partitions.length}, ` +
    `learnt state ${hex(learnt)}`;
  show({ ...json, learnt: hex(learnt) }, text, options);
  if (leftOut > 0) {
    process.stderr.write(
      `treeline: ${leftOut} series were there twice; the first of each stayed\n`,
    );
  }
  if (begunAnew > 0) {
    process.stderr.write(
      `treeline: the buckets of ${begunAnew} histograms did not meet in one partition; they are gathered anew\n`,
    );
  }
  if (recordsPassed > 0) {
    process.stderr.write(`treeline: ${recordsPassed} records of the log are passed over\n`);
  }
}

export async function stateVerify(file: string, options: Options): Promise<void> {
  let head: object = {};
  const partitions: object[] = [];
  for await (const piece of readStateFile(fileSource(file))) {
    if (piece.kind === 'head') {
      const { recordFormat, recordBytes, seed, program, logId, partitions, partitionBy } =
        piece.head;
      head = {
        ...{ program, recordFormat, recordBytes, seed, engineId: hex(piece.head.engineId) },
        ...{ logId, partitions, partitionBy: partitionBy.map(({ name }) => name) },
      };
    } else if (piece.kind === 'partition') {
      const { manifest, recordsBehind } = piece.partition;
      const { $typeName, ...outcomes } = manifest?.outcomes ?? { $typeName: '' };
      const streamTimeMs = manifest?.streamTimeMs ?? Number.NaN;
      partitions.push({
        partition: manifest?.partition,
        offset: Number(manifest?.offset),
        streamTimeMs: Number.isFinite(streamTimeMs) ? streamTimeMs : null,
        stateHash: hex(manifest?.stateHash ?? new Uint8Array()),
        recordsBehind,
        outcomes,
      });
    } else if (piece.kind === 'end') {
      const { series, scored, histograms, learnt } = piece.end;
      const counts = { series, scored, histograms };
      const json = { file, bytes: piece.bytes, ...counts, learnt: hex(learnt), ...head };
      const text = `${file}: sound, ${counted(counts)} of ${partitions.length} partitions, learnt state ${hex(learnt)}`;
      show({ ...json, saved: partitions }, text, options);
    }
  }
}

/** Of the forest that this program brings. */
function layoutOfForest(): RecordLayout {
  const { module, bytes } = loadWasm('forest');
  const { recordFormat, recordBytes } = new WasmForest(module, { seriesMax: 1, seed: FOREST_SEED });
  const engineId = createHash('sha256').update(bytes).digest();
  return { recordFormat, recordBytes, seed: FOREST_SEED, engineId };
}

interface Output {
  write(bytes: Uint8Array): Promise<void>;
  /** The file is there, durably. */
  finish(): Promise<void>;
  discard(): Promise<void>;
}

function toStandardOutput(): Output {
  return {
    async write(bytes) {
      if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
    },
    async finish() {},
    async discard() {},
  };
}

async function toFile(path: string): Promise<Output> {
  const partial = `${path}.partial-${process.pid}`;
  const failed = (error: unknown) => {
    const text = `Cannot write ${path}: ${(error as Error).message}`;
    return new OperatingError('input_invalid', text, error);
  };
  const file = await open(partial, 'wx').catch((error: unknown) => {
    throw failed(error);
  });
  return {
    async write(bytes) {
      try {
        await file.writeFile(bytes);
      } catch (error) {
        throw failed(error);
      }
    },
    async finish() {
      await file.sync();
      await file.close();
      await rename(partial, path);
      const folder = await open(dirname(resolve(path)), 'r');
      await folder.sync().finally(() => folder.close());
    },
    async discard() {
      await file.close();
      await rm(partial, { force: true });
    },
  };
}

function fileSource(path: string): StateFileSource {
  return {
    name: basename(path),
    async *read() {
      try {
        yield* createReadStream(path, { highWaterMark: 256 * 1024 });
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        throw new OperatingError('input_invalid', `Cannot read ${path}: ${code}`, error);
      }
    },
  };
}

function counted(counts: { series: number; scored: number; histograms: number }): string {
  return `${counts.series} series, ${counts.scored} scored, ${counts.histograms} histograms`;
}

function show(
  json: object,
  text: string,
  options: Options,
  to: NodeJS.WriteStream = process.stdout,
): void {
  to.write(`${options['output'] === 'json' ? JSON.stringify(json, null, 2) : text}\n`);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
