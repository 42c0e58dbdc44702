// Contexts to tensors and the model's tensor to quantiles, by the manifest's layout. Rows are padded on the left, what is
// missing is masked or NaN, and the quantiles of a step ascend whatever the model says: a model may let them cross.

import { strict as assert } from 'node:assert';
import type { Manifest } from './manifest.js';
import type { Tensor } from './tensor.js';

/** One row as the model takes it: `values` scaled, NaN where nothing was observed, newest last, at most context.max. */
export function inputTensors(manifest: Manifest, rows: readonly Float64Array[]): Tensor[] {
  const { inputs, context } = manifest;
  const { mask } = inputs;
  const values = new Float32Array(rows.length * context.max);
  const observed = new Uint8Array(values.length);
  if (mask === undefined) values.fill(Number.NaN);
  for (const [index, row] of rows.entries()) {
    assert(row.length <= context.max, `${row.length} samples, the model takes ${context.max}`);
    const at = (index + 1) * context.max - row.length;
    for (let i = 0; i < row.length; i++) {
      const value = row[i] as number;
      if (Number.isNaN(value)) continue;
      values[at + i] = value;
      observed[at + i] = 1;
    }
  }
  const sizes = (shape: readonly ('batch' | number)[]) =>
    shape.map((size) => (size === 'batch' ? rows.length : size));
  const dims = sizes(inputs.context.shape);
  const tensors: Tensor[] = [{ name: inputs.context.name, dtype: 'float32', dims, values }];
  if (mask !== undefined) {
    const bits = mask.oneMeans === 'observed' ? observed : observed.map((bit) => 1 - bit);
    const { name, dtype } = mask;
    tensors.push({ name, dtype, dims, values: dtype === 'bool' ? bits : Float32Array.from(bits) });
  }
  for (const { name, dtype, shape, fill } of inputs.constants ?? []) {
    tensors.push(constant({ name, dtype, fill }, sizes(shape)));
  }
  return tensors;
}

type Constant = NonNullable<Manifest['inputs']['constants']>[number];

function constant({ name, dtype, fill }: Omit<Constant, 'shape'>, dims: number[]): Tensor {
  const count = dims.reduce((product, size) => product * size, 1);
  const perRow = count / (dims[0] as number);
  const number = (index: number) =>
    fill === 'zero' ? 0 : fill === 'one' ? 1 : Math.floor(index / perRow);
  const numbers = Array.from({ length: count }, (_, index) => number(index));
  if (dtype === 'int64') return { name, dtype, dims, values: BigInt64Array.from(numbers, BigInt) };
  const values = dtype === 'bool' ? Uint8Array.from(numbers) : Float32Array.from(numbers);
  return { name, dtype, dims, values };
}

/** What is wrong with an answer of the model; undefined when it has the shape that the manifest says, and is finite. */
export function outputFault(manifest: Manifest, output: Tensor, rows: number): string | undefined {
  const { outputs, horizon } = manifest;
  const sizes = { b: rows, q: outputs.levels.length, h: horizon.native, v: 1 };
  const want = [...outputs.layout].map((letter) => sizes[letter as keyof typeof sizes]);
  if (output.dtype !== 'float32') return `${output.name} is ${output.dtype}, not float32`;
  // Models that roll on may answer more steps than we want; fewer are a fault.
  const isShaped =
    output.dims.length === want.length &&
    output.dims.every((size, index) =>
      outputs.layout[index] === 'h' ? size >= (want[index] as number) : size === want[index],
    );
  if (!isShaped) return `${output.name} has the shape [${output.dims}], not [${want}]`;
  const count = output.dims.reduce((product, size) => product * size, 1);
  if (output.values.length !== count) {
    return `${output.name} has ${output.values.length} values, not ${count}`;
  }
  for (const value of output.values as Float32Array) {
    if (!Number.isFinite(value)) return `${output.name} is not finite`;
  }
  return undefined;
}

/** Level by level, `steps` each, of one row; ascending at each step. Still scaled. */
export function quantilesOf(
  manifest: Manifest,
  output: Tensor,
  { row, steps }: { row: number; steps: number },
): Float64Array {
  const { outputs } = manifest;
  const strides: Record<string, number> = {};
  let stride = 1;
  for (let index = output.dims.length - 1; index >= 0; index--) {
    strides[outputs.layout[index] as string] = stride;
    stride *= output.dims[index] as number;
  }
  const { b = 0, q = 0, h = 0 } = strides;
  const count = outputs.levels.length;
  const values = output.values as Float32Array;
  const quantiles = new Float64Array(count * steps);
  for (let step = 0; step < steps; step++) {
    const at = row * b + step * h;
    // By insertion: they are all but sorted, and this is done for every step of every window.
    for (let level = 0; level < count; level++) {
      const value = values[at + level * q] as number;
      let place = level;
      for (; place > 0; place--) {
        const below = quantiles[(place - 1) * steps + step] as number;
        if (below <= value) break;
        quantiles[place * steps + step] = below;
      }
      quantiles[place * steps + step] = value;
    }
  }
  return quantiles;
}
