// The program of the worker thread: onnxruntime-web, which in Node is WebAssembly and a loader. It may be ended at any
// time, also during a run, without harm to the process. One thread: more would want workers of their own.

import { parentPort } from 'node:worker_threads';
import * as onnxruntime from 'onnxruntime-web';
import { answerWith, type Onnx } from './place.js';
import type { ToPlace } from './runner.js';

onnxruntime.env.wasm.numThreads = 1;
onnxruntime.env.logLevel = 'error';
const OPTIONS = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' };

const answer = answerWith(onnxruntime as unknown as Onnx, OPTIONS, (message) =>
  parentPort?.postMessage(message),
);
parentPort?.on('message', (message: ToPlace) => void answer(message));
