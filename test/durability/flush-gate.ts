// The test's side of flush-gate.c: compiles it, starts nothing, and hands out the environment
// variables with which any node process runs behind the gate. Linux only, like the library.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Order of struct gate in flush-gate.c, four bytes each. */
const FIELDS = [
  'flushesBegun',
  'flushesEnded',
  'pageWrites',
  'metaWrites',
  'failures',
  'held',
  'hold',
  'failErrno',
  'failOn',
] as const;
type Field = (typeof FIELDS)[number];

/** growth: writes of pages that would make the file longer. */
const CALLS = { flush: 1, pages: 2, meta: 4, growth: 8 };
export type Call = keyof typeof CALLS;

export interface FlushGate {
  /** For the process that is to run behind the gate. */
  readonly env: Record<string, string>;
  /** Flushes of the store that have ended well. */
  flushes(): number;
  read(field: Field): number;
  /** From now on these calls fail with this error; null: they succeed again. */
  fail(errno: 'EIO' | 'ENOSPC' | null, on?: readonly Call[]): void;
  /** Flushes that begin from now on wait for release. */
  hold(): void;
  release(): void;
  /**
   * After the process was killed: takes back writes that no flush has made durable, each one when
   * `isLost` says so, as a power loss would. Returns how many there were.
   */
  losePower(store: string, isLost: () => boolean): number;
  remove(): void;
}

const source = new URL('../../test/durability/flush-gate.c', import.meta.url);
const compiledSource = new URL('../../../test/durability/flush-gate.c', import.meta.url);

export async function buildFlushGate(): Promise<FlushGate> {
  const library = compile();
  const folder = mkdtempSync(join(tmpdir(), 'treeline-gate-'));
  const undo = join(folder, 'undo');
  const control = join(folder, 'gate');
  writeFileSync(control, Buffer.alloc(4 * FIELDS.length));
  const fd = openSync(control, 'r+');
  const set = (field: Field, value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    writeSync(fd, bytes, 0, 4, 4 * FIELDS.indexOf(field));
  };
  const read = (field: Field) => {
    const bytes = Buffer.alloc(4);
    readSync(fd, bytes, 0, 4, 4 * FIELDS.indexOf(field));
    return bytes.readUInt32LE();
  };
  const preloaded = process.env['LD_PRELOAD'];
  return {
    env: {
      LD_PRELOAD: preloaded ? `${library}:${preloaded}` : library,
      TREELINE_FLUSH_GATE: control,
      TREELINE_FLUSH_UNDO: undo,
    },
    flushes: () => read('flushesEnded'),
    read,
    fail(errno, on = ['flush']) {
      set(
        'failOn',
        on.reduce((bits, call) => bits | CALLS[call], 0),
      );
      set('failErrno', errno === null ? 0 : constants.errno[errno]);
    },
    hold: () => set('hold', 1),
    release: () => set('hold', 0),
    losePower: (store, isLost) => takeBack(undo, { store, isLost }),
    remove() {
      closeSync(fd);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Compiled once per version of the source, into the system's temporary directory. */
function compile(): string {
  const path = existsSync(source) ? source : compiledSource;
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16);
  const library = join(tmpdir(), `treeline-flush-gate-${digest}.so`);
  if (existsSync(library)) return library;
  const partial = `${library}.${process.pid}`;
  const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC'];
  execFileSync('cc', [...flags, '-o', partial, path.pathname, '-ldl', '-lpthread']);
  renameSync(partial, library);
  return library;
}

/**
 * Newest first, so that the oldest bytes of a place win. A last entry cut short belongs to a write
 * that never was.
 */
function takeBack(undo: string, loss: { store: string; isLost: () => boolean }): number {
  if (!existsSync(undo)) return 0;
  const bytes = readFileSync(undo);
  const entries: { offset: number; old: Buffer }[] = [];
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at + 8));
    if (at + 16 + length > bytes.length) break;
    const offset = Number(bytes.readBigUInt64LE(at));
    entries.push({ offset, old: bytes.subarray(at + 16, at + 16 + length) });
    at += 16 + length;
  }
  const fd = openSync(loss.store, 'r+');
  for (const { offset, old } of entries.reverse()) {
    if (loss.isLost()) writeSync(fd, old, 0, old.length, offset);
  }
  closeSync(fd);
  rmSync(undo);
  return entries.length;
}
