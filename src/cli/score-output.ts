// Where scored rows go: a file, a gzipped file, or standard output. A file appears under its name when it is complete;
// until then it is called NAME.part, and a failure takes it away. Writing waits for whoever reads.

import { once } from 'node:events';
import {
  closeSync,
  createWriteStream,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { OperatingError } from '../errors.js';

export interface RowOutput {
  /** The bytes may change once this has returned, or its promise is resolved. */
  write(bytes: Buffer): void | Promise<void>;
  /** Everything has been written: the file gets its name. */
  complete(): void | Promise<void>;
  /** It failed: nothing is left behind. */
  discard(): void;
}

/** The reader of standard output went away, as `head` does: nothing failed, and nothing is left to do. */
export class ReaderGone extends Error {}

export function partOf(path: string): string {
  // A device or a pipe cannot be replaced by renaming; it is written as it is.
  return statOf(path)?.isFile() === false ? path : `${path}.part`;
}

/** Undefined when it is not there, or cannot be looked at: reading or writing it will say why. */
export function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

export function openOutput(path: string): RowOutput {
  const part = partOf(path);
  try {
    mkdirSync(dirname(path), { recursive: true });
    return path.endsWith('.gz') ? gzipOutput(path, part) : plainOutput(path, part);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

function plainOutput(path: string, part: string): RowOutput {
  const file = openSync(part, 'w');
  return {
    write(bytes) {
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      } catch (error) {
        throw cannotWrite(path, error);
      }
    },
    complete() {
      closeSync(file);
      if (part !== path) renameSync(part, path);
    },
    discard() {
      closeSync(file);
      if (part !== path) rmSync(part, { force: true });
    },
  };
}

function gzipOutput(path: string, part: string): RowOutput {
  const gzip = createGzip({ level: 6 });
  const file = createWriteStream('', { fd: openSync(part, 'w') });
  gzip.pipe(file);
  const written = finished(file);
  // Whoever waits for it is told; until then a failure must not end the process.
  written.catch(() => {});
  file.once('error', () => gzip.destroy());
  return {
    async write(bytes) {
      try {
        await Promise.race([
          new Promise<void>((resolve) => gzip.write(Buffer.from(bytes), () => resolve())),
          written,
        ]);
      } catch (error) {
        throw cannotWrite(path, error);
      }
    },
    async complete() {
      gzip.end();
      try {
        await written;
      } catch (error) {
        throw cannotWrite(path, error);
      }
      if (part !== path) renameSync(part, path);
    },
    discard() {
      gzip.destroy();
      file.destroy();
      if (part !== path) rmSync(part, { force: true });
    },
  };
}

/** `stream` stays open: it is the process's own. */
export function streamOutput(stream: Writable): RowOutput {
  let gone: Error | undefined;
  stream.once('error', (error) => {
    gone = error;
  });
  return {
    async write(bytes) {
      if (gone === undefined) {
        const isTaken = stream.write(Buffer.from(bytes));
        if (!isTaken) await once(stream, 'drain').catch(() => {});
      }
      if (gone !== undefined) throw isPipeClosed(gone) ? new ReaderGone() : cannotWrite('', gone);
    },
    complete() {},
    discard() {},
  };
}

function isPipeClosed(error: Error): boolean {
  return (error as NodeJS.ErrnoException).code === 'EPIPE';
}

function cannotWrite(path: string, error: unknown): OperatingError {
  const { code } = error as NodeJS.ErrnoException;
  return new OperatingError(
    code === 'ENOSPC' || code === 'EDQUOT' ? 'disk_full' : 'input_invalid',
    `Cannot write ${path || 'standard output'}: ${code}`,
    error,
  );
}
