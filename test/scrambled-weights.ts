// A model with the same graph and the same numbers in another order: what is left of its quality was never in its weights.
// Only as much of the ONNX format (protobuf) is read as leads to the weights: ModelProto.graph (7), GraphProto.initializer (5),
// TensorProto.data_type (2, float is 1) and raw_data (9).

import { randomOf } from './random.js';

const GRAPH = 7;
const INITIALIZER = 5;
const DATA_TYPE = 2;
const RAW = 9;
const FLOAT = 1;

interface Field {
  number: number;
  /** Of a field with a length: its bytes, in place. */
  bytes: Uint8Array | undefined;
  value: number;
}

/** A copy; tensors of at least 64 floats are shuffled. */
export function scrambled(model: Uint8Array, seed: number): Uint8Array {
  const copy = Uint8Array.from(model);
  const random = randomOf(seed);
  let shuffled = 0;
  for (const graph of fieldsOf(copy, GRAPH)) {
    for (const tensor of fieldsOf(graph.bytes as Uint8Array, INITIALIZER)) {
      const fields = [...everyField(tensor.bytes as Uint8Array)];
      const raw = fields.find(({ number }) => number === RAW)?.bytes;
      const isFloat = fields.some(({ number, value }) => number === DATA_TYPE && value === FLOAT);
      if (raw === undefined || !isFloat || raw.length < 256) continue;
      const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
      for (let i = raw.length / 4 - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1));
        const kept = view.getUint32(4 * i, true);
        view.setUint32(4 * i, view.getUint32(4 * j, true), true);
        view.setUint32(4 * j, kept, true);
      }
      shuffled++;
    }
  }
  if (shuffled === 0) throw new Error('no weights were found');
  return copy;
}

function* fieldsOf(message: Uint8Array, number: number): Iterable<Field> {
  for (const field of everyField(message)) if (field.number === number) yield field;
}

function* everyField(message: Uint8Array): Iterable<Field> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const type = tag % 8;
    if (type === 0) yield { number, bytes: undefined, value: varint() };
    else if (type === 2) {
      const length = varint();
      yield { number, bytes: message.subarray(at, at + length), value: Number.NaN };
      at += length;
    } else at += type === 5 ? 4 : 8;
  }
}
