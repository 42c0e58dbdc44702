// A model and what it says of itself. The manifest beside an ONNX file names its inputs and outputs, how long a context it
// wants and how values are scaled before and after: layouts are data, so that a model of another family needs a manifest
// and no code. Nothing of a model is believed before size and hash of the file are what the manifest says; what it answers
// is checked by parity.ts.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { OperatingError } from '../errors.js';
import {
  CONTEXT_MAX,
  HORIZON_MAX,
  LEVELS_MAX,
  MANIFEST_BYTES_MAX,
  MODEL_BYTES_MAX,
} from '../limits-models.js';

const FileName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' });
const TensorName = Type.String({ minLength: 1, maxLength: 128 });
/** `batch` is the number of rows; every other dimension is fixed. */
const Shape = Type.Array(Type.Union([Type.Literal('batch'), Type.Integer({ minimum: 1 })]), {
  minItems: 1,
  maxItems: 4,
});

export const ManifestSchema = Type.Object({
  schema: Type.Literal(1),
  id: Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,63}$' }),
  version: Type.String({ minLength: 1, maxLength: 32 }),
  task: Type.Literal('forecast'),
  license: Type.String({ minLength: 1, maxLength: 128 }),
  file: Type.Object({
    path: FileName,
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    bytes: Type.Integer({ minimum: 1, maximum: MODEL_BYTES_MAX }),
  }),
  inputs: Type.Object({
    context: Type.Object({ name: TensorName, dtype: Type.Literal('float32'), shape: Shape }),
    /** Absent: what is missing is NaN in the context itself. */
    mask: Type.Optional(
      Type.Object({
        name: TensorName,
        dtype: Type.Union([Type.Literal('float32'), Type.Literal('bool')]),
        oneMeans: Type.Union([Type.Literal('observed'), Type.Literal('missing')]),
      }),
    ),
    /** What a model wants besides and what does not depend on the series. */
    constants: Type.Optional(
      Type.Array(
        Type.Object({
          name: TensorName,
          dtype: Type.Union([Type.Literal('float32'), Type.Literal('int64'), Type.Literal('bool')]),
          shape: Shape,
          /** `row`: the number of the row, from 0; each row is then a group of its own. */
          fill: Type.Union([Type.Literal('zero'), Type.Literal('one'), Type.Literal('row')]),
        }),
        { maxItems: 8 },
      ),
    ),
  }),
  context: Type.Object({
    max: Type.Integer({ minimum: 8, maximum: CONTEXT_MAX }),
    minObserved: Type.Integer({ minimum: 2, maximum: CONTEXT_MAX }),
    pad: Type.Literal('left'),
  }),
  horizon: Type.Object({
    native: Type.Integer({ minimum: 1, maximum: HORIZON_MAX }),
    rollout: Type.Literal('none'),
  }),
  outputs: Type.Object({
    name: TensorName,
    /** Order of the dimensions: b row, q level, h step, v the one variate. */
    layout: Type.String({ pattern: '^[bqhv]{3,4}$' }),
    levels: Type.Array(Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1 }), {
      minItems: 3,
      maxItems: LEVELS_MAX,
    }),
  }),
  scaling: Type.Object({
    pre: Type.Union([
      Type.Literal('median-asinh-f64'),
      Type.Literal('meanstd-asinh-f64'),
      Type.Literal('affine-f64'),
    ]),
  }),
  batch: Type.Object({
    max: Type.Integer({ minimum: 1, maximum: 1024 }),
    preferred: Type.Integer({ minimum: 1, maximum: 1024 }),
  }),
  parity: Type.Object({
    file: FileName,
    tolerance: Type.Number({ exclusiveMinimum: 0, maximum: 0.1 }),
  }),
});

export type Manifest = Static<typeof ManifestSchema>;

const ParitySchema = Type.Object({
  rows: Type.Array(
    Type.Object({
      context: Type.Array(Type.Union([Type.Number(), Type.Null()])),
      mask: Type.String({ pattern: '^[01]*$' }),
      quantiles: Type.Array(Type.Array(Type.Number())),
    }),
    { minItems: 1, maxItems: 64 },
  ),
});

export type ParityRow = Static<typeof ParitySchema>['rows'][number];

export interface Model {
  manifest: Manifest;
  /** Where the manifest lies, for messages. */
  path: string;
  bytes: Uint8Array;
  parity: readonly ParityRow[];
}

/** Where the models lie that are shipped, whether we run from dist/ or from the sources. */
export function shippedModel(name: string): string {
  const isCompiled = new URL('.', import.meta.url).pathname.endsWith('/dist/src/inference/');
  const folder = new URL(isCompiled ? '../../../models/' : '../../models/', import.meta.url);
  return join(fileURLToPath(folder), `${name}.json`);
}

/**
 * `model` is the name of a shipped one, or the path of a manifest or of the ONNX file beside it. Throws `model_invalid`
 * with what does not fit.
 */
export function loadModel(model: string): Model {
  const isName = /^[a-z0-9-]+$/.test(model);
  const named = isName ? shippedModel(model) : resolve(model);
  if (isName && !existsSync(named)) throw unknown(model);
  const path = named.endsWith('.onnx') ? `${named.slice(0, -'.onnx'.length)}.json` : named;
  const manifest = readManifest(path);
  const folder = dirname(path);
  const bytes = read(join(folder, manifest.file.path), MODEL_BYTES_MAX);
  if (named.endsWith('.onnx') && basename(named) !== manifest.file.path) {
    throw invalid(path, `it describes ${manifest.file.path}, not ${basename(named)}`);
  }
  if (bytes.length !== manifest.file.bytes) {
    const { length } = bytes;
    throw invalid(path, `${manifest.file.path} has ${length} bytes, not ${manifest.file.bytes}`);
  }
  const hash = createHash('sha256').update(bytes).digest('hex');
  if (hash !== manifest.file.sha256) {
    throw invalid(path, `${manifest.file.path} has the SHA-256 ${hash}, not the one it names`);
  }
  const parityPath = join(folder, manifest.parity.file);
  const { rows } = check(ParitySchema, parse(parityPath), parityPath);
  for (const row of rows) checkParityRow(manifest, row, parityPath);
  return { manifest, path, bytes, parity: rows };
}

export function readManifest(path: string): Manifest {
  const manifest = check(ManifestSchema, parse(path), path);
  const { inputs, context, outputs } = manifest;
  const { shape } = inputs.context;
  if (shape[0] !== 'batch' || shape.at(-1) !== context.max) {
    const want = `["batch", …, ${context.max}]`;
    throw invalid(path, `inputs.context.shape is ${JSON.stringify(shape)}, not ${want}`);
  }
  if (shape.slice(1, -1).some((size) => size !== 1)) {
    throw invalid(path, 'inputs.context.shape has more than one variate');
  }
  const { layout, levels } = outputs;
  if (new Set(layout).size !== layout.length || !/b/.test(layout) || !/q.*h|h.*q/.test(layout)) {
    throw invalid(
      path,
      `outputs.layout ${layout} must name each of b, q and h once, and v at most`,
    );
  }
  if (levels.some((level, index) => level <= (levels[index - 1] ?? 0))) {
    throw invalid(path, 'outputs.levels do not ascend');
  }
  if (!levels.includes(0.5)) throw invalid(path, 'outputs.levels lack the median, 0.5');
  if (context.minObserved > context.max) {
    throw invalid(path, 'context.minObserved is above context.max');
  }
  return manifest;
}

function checkParityRow(
  { context, outputs, horizon }: Manifest,
  row: ParityRow,
  path: string,
): void {
  const { levels } = outputs;
  if (row.context.length !== context.max || row.mask.length !== context.max) {
    throw invalid(path, `a context has ${row.context.length} samples, not ${context.max}`);
  }
  const isWhole = row.quantiles.length === levels.length;
  if (!isWhole || row.quantiles.some((steps) => steps.length !== horizon.native)) {
    throw invalid(path, `an answer is not ${levels.length} levels of ${horizon.native} steps`);
  }
}

function check<T extends typeof ManifestSchema | typeof ParitySchema>(
  schema: T,
  value: unknown,
  path: string,
): Static<T> {
  if (Value.Check(schema, value)) return value as Static<T>;
  const first = Value.Errors(schema, value).First();
  throw invalid(path, `${first?.path === '' ? 'it' : first?.path}: ${first?.message}`);
}

function parse(path: string): unknown {
  const text = Buffer.from(read(path, MANIFEST_BYTES_MAX)).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(path, 'it is no JSON', error);
  }
}

function read(path: string, bytesMax: number): Uint8Array {
  try {
    const { size } = statSync(path);
    if (size > bytesMax) {
      throw invalid(path, `it has ${size} bytes, at most ${bytesMax} are expected`);
    }
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw invalid(path, (error as Error).message, error);
  }
}

export function invalid(path: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError('model_invalid', `Cannot use the model of ${path}: ${why}`, cause);
}

function unknown(name: string): OperatingError {
  const shipped = readdirSync(dirname(shippedModel(name)))
    .filter((file) => file.endsWith('.onnx'))
    .map((file) => file.slice(0, -'.onnx'.length));
  const text = `There is no model ${name}: ${shipped.join(' and ')} is shipped, of another one give the path of its manifest or ONNX file`;
  return new OperatingError('model_invalid', text);
}
