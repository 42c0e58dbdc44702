// The settings of `deepCheck`: which model gives the second opinion, where it runs, and what it may cost.

import { Type } from '@sinclair/typebox';

const RUNTIMES = ['auto', 'native', 'wasm', 'remote', 'none'] as const;

export const DeepCheckSettings = Type.Object(
  {
    model: Type.String({
      minLength: 1,
      default: 'nano',
      description:
        'Forecaster: nano is shipped; a manifest or ONNX file; or zscore, squared-difference, seasonal-naive',
    }),
    runtime: Type.Union(
      RUNTIMES.map((runtime) => Type.Literal(runtime)),
      {
        default: 'auto',
        description:
          'Where the model runs: a process with onnxruntime-node, a thread with WebAssembly, deepCheck.remote, nowhere; auto: the first there is',
      },
    ),
    remote: Type.String({
      pattern: '^(https?://[^@?#]+)?$',
      default: '',
      description: 'Address of a server that speaks the Open Inference Protocol, version 2',
    }),
    remoteTokenFile: Type.String({
      default: '',
      description: 'File with the bearer token for that server, read again when it changes',
    }),
    batch: Type.Integer({
      minimum: 1,
      maximum: 1024,
      default: 32,
      description: 'Windows forecast in one run at most; a check takes up to 8',
    }),
    waitMs: Type.Integer({
      minimum: 0,
      maximum: 60_000,
      default: 1000,
      description: 'Milliseconds that a flag waits for its verdict; then it is raised without one',
    }),
    budget: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 1000,
      description: 'Windows forecast per second on average',
    }),
  },
  { additionalProperties: false },
);
