// A model on onnxruntime-node in a child process: fast, and whatever happens in native code ends that process only. The
// package is optional, and has no build for every system; whoever asks is told what is missing.

import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Model } from './manifest.js';
import { type FromPlace, type Place, type PlaceEvents, placeFile, Runner } from './runner.js';

/** What it wrote before it ended, at most. */
const WORDS_MAX = 2_000;

/** Why this machine cannot run it; undefined when it can. */
export function nativeMissing(): string | undefined {
  const fix = 'run ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0';
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  } catch {
    // Optional dependencies may be left out, and are when their installation fails.
    return `the package onnxruntime-node is not installed; ${fix}`;
  }
  const { platform, arch } = process;
  const binding = join(dirname(dirname(entry)), 'bin/napi-v6', platform, arch);
  if (existsSync(join(binding, 'onnxruntime_binding.node'))) return undefined;
  return `onnxruntime-node has no build for ${platform} ${arch}`;
}

export function createNativeRuntime(
  model: Model,
  options: { clock: () => number; runMsMax?: number; idleMs?: number; file?: URL },
): Runner {
  const { file = placeFile('native-place'), ...rest } = options;
  return new Runner({
    kind: 'native',
    model: model.bytes,
    output: model.manifest.outputs.name,
    open: (events) => open(file, events),
    ...rest,
  });
}

function open(file: URL, events: PlaceEvents): Place {
  const child = fork(fileURLToPath(file), [], {
    // Typed arrays go as they are; as JSON a batch would take 20 ms.
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
  });
  let words = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text: string) => {
    words = (words + text).slice(-WORDS_MAX);
  });
  const gone = new Promise<void>((resolve) => {
    child.once('close', (code, signal) => {
      events.onExit(`its process ended with ${signal ?? code}${lastLine(words)}`);
      resolve();
    });
    child.once('error', (error) => {
      events.onExit(`its process cannot be started: ${error.message}`);
      resolve();
    });
  });
  child.on('message', (message) => events.onMessage(message as FromPlace));
  // Neither the process nor its channel keeps ours alive.
  child.unref();
  child.channel?.unref();
  (child.stderr as unknown as { unref?: () => void } | null)?.unref?.();
  return {
    send: (message) => {
      // A channel that is closed already: the end of the process says so.
      if (child.connected) child.send(message, () => {});
    },
    end: () => end(child, gone),
  };
}

async function end(child: ChildProcess, gone: Promise<void>): Promise<void> {
  child.ref();
  child.kill('SIGKILL');
  await gone;
}

function lastLine(words: string): string {
  const line = words.trim().split('\n').at(-1) ?? '';
  return line === '' ? '' : `: ${line.slice(0, 300)}`;
}
