// The program of the child process: onnxruntime-node, one thread, no spinning. It lives as long as the channel to its
// parent. In a worker thread it could not live: ending one during a run aborts the whole process (onnxruntime-node 1.30).

import * as onnxruntime from 'onnxruntime-node';
import { answerWith, type Onnx } from './place.js';
import type { FromPlace, ToPlace } from './runner.js';

const OPTIONS = {
  executionProviders: ['cpu'],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  // Without an arena the pages of a batch are given back and fetched again at each run, which takes a third of its time.
  enableCpuMemArena: true,
  enableMemPattern: false,
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
};

const send = (message: FromPlace) => process.send?.(message);
const answer = answerWith(onnxruntime as unknown as Onnx, OPTIONS, send);
process.on('message', (message: ToPlace) => void answer(message));
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// Of an interrupted terminal the parent hears as well, and ends us in its order.
process.on('SIGINT', () => {});
