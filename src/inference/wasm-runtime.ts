// A model on onnxruntime-web in a worker thread: no native code, a third of the speed, and 130 MB that stay while it is
// loaded. Its first runs are slow, until the engine has compiled what is hot, so it is loaded once and kept.

import { Worker } from 'node:worker_threads';
import type { Model } from './manifest.js';
import { type FromPlace, type Place, type PlaceEvents, placeFile, Runner } from './runner.js';

export function createWasmRuntime(
  model: Model,
  options: { clock: () => number; runMsMax?: number; idleMs?: number },
): Runner {
  return new Runner({
    kind: 'wasm',
    model: model.bytes,
    output: model.manifest.outputs.name,
    open,
    idleMs: Number.POSITIVE_INFINITY,
    ...options,
  });
}

function open(events: PlaceEvents): Place {
  const worker = new Worker(placeFile('wasm-place'));
  worker.on('message', (message: FromPlace) => events.onMessage(message));
  worker.once('error', (error: Error) => events.onExit(`its thread failed: ${error.message}`));
  worker.once('exit', () => events.onExit('its thread ended'));
  worker.unref();
  return {
    send: (message) => worker.postMessage(message),
    end: async () => {
      await worker.terminate();
    },
  };
}
