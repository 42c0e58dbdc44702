// Starts other programs for the length of a test, and leaves none behind. A child dies with the
// process that started it, whatever that process died of: the kernel sends it the signal (prctl(2),
// PR_SET_PDEATHSIG, set by util-linux' setpriv, which then becomes the program, so that the process
// id stays the same). Where there is no setpriv, an exit hook has to do.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Output kept per stream: the end of it, where the reason stands. */
const OUTPUT_CHARACTERS_MAX = 1 << 20;
const STOP_MS_MAX = 20_000;
const READY_POLL_MS = 25;
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Program {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  hasExited(): boolean;
  stdout(): string;
  stderr(): string;
  /**
   * Sends the signal and resolves when the program is gone; after 20 s it is killed, and that is an
   * error.
   */
  stop(signal?: NodeJS.Signals): Promise<Exit>;
}

export interface StartOptions {
  directory?: string;
  /** Added to ours; an undefined value takes the variable away. */
  environment?: Readonly<Record<string, string | undefined>>;
}

const running = new Set<ChildProcess>();
const directories = new Set<string>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const path of directories) rmSync(path, { recursive: true, force: true });
});

/** Ends and removes whatever is left, for `afterAll`: a test worker ends without its exit hooks. */
export async function endPrograms(): Promise<void> {
  const ends = [...running].map((child) => {
    const closed = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    return closed;
  });
  await Promise.all(ends);
  for (const path of directories) removeDirectory(path);
}

/** Rejects when the file cannot be run at all. */
export async function startProgram(
  file: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<Program> {
  const guarded =
    SETPRIV === undefined ? [file, ...args] : [SETPRIV, '--pdeathsig', 'KILL', '--', file, ...args];
  const child = spawn(guarded[0] as string, guarded.slice(1), {
    cwd: options.directory,
    env: { ...process.env, ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] = (output[name] + text).slice(-OUTPUT_CHARACTERS_MAX);
    });
  }
  // 'close' comes after both streams have ended, so what the program last said is there.
  const exited = new Promise<Exit>((resolve) => {
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  const hasExited = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid: child.pid as number,
    exited,
    hasExited,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    async stop(signal = 'SIGTERM') {
      if (!hasExited()) child.kill(signal);
      let isForced = false;
      const timer = setTimeout(() => {
        isForced = true;
        child.kill('SIGKILL');
      }, STOP_MS_MAX);
      const exit = await exited;
      clearTimeout(timer);
      if (!isForced) return exit;
      throw new Error(
        `${file} did not end within ${STOP_MS_MAX} ms of ${signal}:\n${tail(output)}`,
      );
    },
  };
}

/** Runs a program to its end. Rejects when that takes too long. */
export async function runProgram(
  file: string,
  args: readonly string[],
  options: StartOptions & { timeoutMs: number },
): Promise<Exit & { stdout: string; stderr: string }> {
  const program = await startProgram(file, args, options);
  const late = new AbortController();
  const exit = await Promise.race([
    program.exited,
    sleep(options.timeoutMs, undefined, { signal: late.signal }),
  ]);
  late.abort();
  const output = { stdout: program.stdout(), stderr: program.stderr() };
  if (exit !== undefined) return { ...exit, ...output };
  await program.stop('SIGKILL');
  const command = [file, ...args].join(' ');
  throw new Error(`${command} did not end within ${options.timeoutMs} ms:\n${tail(output)}`);
}

/**
 * Resolves when the address answers 2xx. Rejects with the program's own words when it ends, or
 * takes too long.
 */
export async function waitUntilReady(
  program: Program,
  url: string,
  timeoutMs: number,
): Promise<void> {
  const until = performance.now() + timeoutMs;
  let last = 'no answer';
  while (performance.now() < until && !program.hasExited()) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) });
      last = `${answer.status} ${await answer.text()}`;
      if (answer.ok) return;
    } catch (error) {
      last = String((error as Error).cause ?? error); // not listening yet, or just gone
    }
    await sleep(READY_POLL_MS);
  }
  const state = program.hasExited() ? 'ended' : `was not ready within ${timeoutMs} ms`;
  const output = tail({ stdout: program.stdout(), stderr: program.stderr() });
  if (!program.hasExited()) await program.stop('SIGKILL');
  throw new Error(`The program behind ${url} ${state}; last answer: ${last}\n${output}`);
}

/** A port of 127.0.0.1 that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No address of a port');
  return address.port;
}

/** Removed by `endPrograms`, or sooner by `removeDirectory`. */
export function temporaryDirectory(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `treeline-${name}-`));
  directories.add(path);
  return path;
}

export function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
  directories.delete(path);
}

/** Polls until `probe` gives a value. Rejects with `what` was waited for and what was seen last. */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  probe: () => Promise<T | undefined>,
): Promise<T> {
  const until = performance.now() + timeoutMs;
  do {
    const value = await probe();
    if (value !== undefined) return value;
    await sleep(100);
  } while (performance.now() < until);
  throw new Error(`Waited ${timeoutMs} ms in vain for ${what}`);
}

function tail(output: { stdout: string; stderr: string }): string {
  return `stdout: ${output.stdout.slice(-2_000)}\nstderr: ${output.stderr.slice(-4_000)}`;
}
