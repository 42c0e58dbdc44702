// The inside of a place, the same for both runtimes: loads a model once, then answers run after run. Whatever goes wrong is
// an answer; only a crash of the runtime itself is not.

import type { FromPlace, ToPlace } from './runner.js';
import type { Dtype, Tensor } from './tensor.js';

/** As much of onnxruntime as both packages have in common. */
export interface Onnx {
  InferenceSession: { create(model: Uint8Array, options: object): Promise<OnnxSession> };
  Tensor: new (type: Dtype, values: Tensor['values'], dims: number[]) => OnnxTensor;
}

interface OnnxSession {
  readonly outputNames: readonly string[];
  run(feeds: Record<string, OnnxTensor>, fetches: string[]): Promise<Record<string, OnnxTensor>>;
}

interface OnnxTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
}

export function answerWith(onnx: Onnx, options: object, send: (message: FromPlace) => void) {
  let session: OnnxSession | undefined;
  let output = '';

  async function answer(message: ToPlace): Promise<FromPlace> {
    if ('load' in message) {
      // From bytes, never from a path: a model cannot make it read another file.
      session = await onnx.InferenceSession.create(message.load.bytes, options);
      output = message.load.output;
      const { outputNames } = session;
      if (outputNames.includes(output)) return { loaded: true };
      return { fault: `it has no output ${output}, but ${outputNames.join(', ')}` };
    }
    if (session === undefined) return { fault: 'no model is loaded' };
    const feeds = message.run.inputs.map(({ name, dtype, dims, values }) => [
      name,
      new onnx.Tensor(dtype, values, dims),
    ]);
    const results = await session.run(Object.fromEntries(feeds), [output]);
    const { type, dims, data: values } = results[output] as OnnxTensor;
    return {
      output: {
        name: output,
        dtype: type as Dtype,
        dims: [...dims],
        values: values as Tensor['values'],
      },
    };
  }

  return async (message: ToPlace): Promise<void> => {
    try {
      send(await answer(message));
    } catch (error) {
      // Wrong shapes, a damaged model, an operator that is not known: the runtime's own words.
      send({ fault: error instanceof Error ? error.message : String(error) });
    }
  };
}
