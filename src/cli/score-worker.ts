// A thread of `treeline score --jobs`: one pass after the other, as it is told, with a forest of its own. What it finds is
// told to the main thread; rows for standard output go through it as well.

import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { WasmForest } from '../scorer/wasm-forest.js';
import {
  type FromWorker,
  failureOf,
  portForecaster,
  portOutput,
  runTask,
  type ToWorker,
  type WorkerStart,
} from './score-run.js';

assert(parentPort !== null, 'This file runs as a thread');
const port = parentPort;
const { settings, module, slots, limits } = workerData as WorkerStart;
const forest = new WasmForest(module, { ...settings, seriesMax: slots });
const rows = portOutput(port);
const forecaster = limits && portForecaster(port, limits);
const say = (message: FromWorker): void => port.postMessage(message);

port.on('message', (message: ToWorker) => {
  if ('taken' in message) return rows.taken(message.taken);
  if ('forecasts' in message) return forecaster?.answered(message.forecasts);
  const onBytes = (bytes: number): void => say({ kind: 'progress', bytes });
  void runTask(message.task, settings, { forest, rows, forecaster, onBytes }).then(
    (results) => say({ kind: 'done', results }),
    (error: unknown) => say(failureOf(error)),
  );
});
