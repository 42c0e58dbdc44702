// Messages of the Open Inference Protocol, version 2, over HTTP
// (https://github.com/kserve/open-inference-protocol), with the binary tensor extension of Triton: the JSON part, whose
// length a header names, and behind it the tensors in the order in which the JSON lists them, little-endian, row by row.
// Without the extension the values stand in the JSON. Read and written by our client and by our server.

import { strict as assert } from 'node:assert';
import { endianness } from 'node:os';
import type { Dtype, Tensor } from './tensor.js';

assert(endianness() === 'LE', 'tensors are sent as they lie in memory');

/** Names the length of the JSON part. */
export const JSON_LENGTH_HEADER = 'inference-header-content-length';
export const BINARY_EXTENSION = 'binary_tensor_data';

const TYPES = { float32: 'FP32', int64: 'INT64', bool: 'BOOL' } as const;
const DTYPES: Readonly<Record<string, Dtype>> = { FP32: 'float32', INT64: 'int64', BOOL: 'bool' };
const DIMENSIONS_MAX = 8;

export interface OipMessage {
  /** What stands in the JSON beside the tensors. */
  fields: Record<string, unknown>;
  tensors: Tensor[];
}

/** What cannot be read, in one sentence for whoever sent it. */
export class BadMessage extends Error {}

export function oipType(dtype: Dtype): string {
  return TYPES[dtype];
}

/** `list`: `inputs` of a request, `outputs` of a response. */
export function encodeMessage(
  { fields, tensors }: OipMessage,
  options: { list: 'inputs' | 'outputs'; isBinary: boolean },
): { body: Buffer; headers: Record<string, string> } {
  const entries = tensors.map(({ name, dtype, dims, values }) => ({
    name,
    shape: dims,
    datatype: TYPES[dtype],
    ...(options.isBinary
      ? { parameters: { binary_data_size: values.byteLength } }
      : { data: jsonValues(values) }),
  }));
  const json = Buffer.from(JSON.stringify({ ...fields, [options.list]: entries }));
  if (!options.isBinary) return { body: json, headers: { 'content-type': 'application/json' } };
  const parts = tensors.map(({ values }) =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength),
  );
  return {
    body: Buffer.concat([json, ...parts]),
    headers: {
      'content-type': 'application/octet-stream',
      [JSON_LENGTH_HEADER]: String(json.length),
    },
  };
}

/** Throws BadMessage. `valuesMax` bounds what one tensor may hold. */
export function decodeMessage(
  body: Buffer,
  options: { list: 'inputs' | 'outputs'; jsonLength: string | undefined; valuesMax: number },
): OipMessage {
  const { list, jsonLength, valuesMax } = options;
  const length = jsonLength === undefined ? body.length : Number(jsonLength);
  if (!Number.isSafeInteger(length) || length < 0 || length > body.length) {
    throw new BadMessage(
      `${JSON_LENGTH_HEADER} says ${jsonLength}, the body has ${body.length} bytes`,
    );
  }
  const fields = parseObject(body.subarray(0, length).toString('utf8'));
  const entries = fields[list];
  if (!Array.isArray(entries)) throw new BadMessage(`it has no list ${list}`);
  let at = length;
  const tensors = entries.map((entry: unknown): Tensor => {
    const { name, shape, datatype, parameters, data: listed } = entryOf(entry, list);
    const dtype = DTYPES[String(datatype)];
    if (typeof name !== 'string' || dtype === undefined) {
      throw new BadMessage(
        `${list} has ${JSON.stringify(name)} of type ${JSON.stringify(datatype)}; FP32, INT64 and BOOL are known`,
      );
    }
    const dims = dimsOf(shape, name);
    const count = dims.reduce((product, size) => product * size, 1);
    if (count > valuesMax) {
      throw new BadMessage(`${name} has ${count} values, at most ${valuesMax} are taken`);
    }
    const bytes = (parameters as { binary_data_size?: unknown } | undefined)?.binary_data_size;
    if (bytes === undefined)
      return { name, dtype, dims, values: listedValues({ listed, dtype, count, name }) };
    const size = count * BYTES[dtype];
    if (bytes !== size || at + size > body.length) {
      throw new BadMessage(
        `${name} has ${String(bytes)} bytes, its shape needs ${size}, and ${body.length - at} are left`,
      );
    }
    at += size;
    return { name, dtype, dims, values: valuesOf(dtype, body.subarray(at - size, at)) };
  });
  return { fields, tensors };
}

const BYTES: Readonly<Record<Dtype, number>> = { float32: 4, int64: 8, bool: 1 };

function valuesOf(dtype: Dtype, bytes: Buffer): Tensor['values'] {
  // A copy: the bytes of a body lie anywhere, and typed arrays want them aligned.
  const { buffer } = Uint8Array.from(bytes);
  if (dtype === 'float32') return new Float32Array(buffer);
  return dtype === 'int64' ? new BigInt64Array(buffer) : new Uint8Array(buffer);
}

function listedValues(parts: {
  listed: unknown;
  dtype: Dtype;
  count: number;
  name: string;
}): Tensor['values'] {
  const { listed, dtype, count, name } = parts;
  // Clients may nest the values by dimension.
  const flat: unknown[] = Array.isArray(listed) ? listed.flat(DIMENSIONS_MAX) : [];
  const isKnown = (value: unknown) =>
    typeof value === 'number' ||
    typeof value === 'boolean' ||
    (value === null && dtype === 'float32');
  if (flat.length !== count || !flat.every(isKnown)) {
    throw new BadMessage(`${name} does not list ${count} values of its type`);
  }
  // JSON knows no NaN: null stands for it.
  const numbers = flat.map((value) => (value === null ? Number.NaN : Number(value)));
  if (dtype === 'float32') return Float32Array.from(numbers);
  if (dtype === 'bool') return Uint8Array.from(numbers);
  if (!numbers.every(Number.isSafeInteger)) throw new BadMessage(`${name} lists no integers`);
  return BigInt64Array.from(numbers, BigInt);
}

function jsonValues(values: Tensor['values']): (number | null)[] {
  return Array.from(values as Float32Array, (value) => {
    const number = Number(value);
    return Number.isNaN(number) ? null : number;
  });
}

function dimsOf(shape: unknown, name: string): number[] {
  const isShape =
    Array.isArray(shape) &&
    shape.length <= DIMENSIONS_MAX &&
    shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!isShape) throw new BadMessage(`${name} has the shape ${JSON.stringify(shape)}`);
  return shape as number[];
}

function entryOf(entry: unknown, list: string): Record<string, unknown> {
  if (typeof entry !== 'object' || entry === null)
    throw new BadMessage(`${list} is no list of tensors`);
  return entry as Record<string, unknown>;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // No JSON is no object.
  }
  throw new BadMessage('its JSON part is no object');
}
