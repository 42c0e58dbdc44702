// The role inference: one model for other processes, over the Open Inference Protocol, version 2, with binary tensors. It
// consumes nothing and knows no series: tensors go to the runtime as they come, after their names, types and shapes have
// been compared with the manifest. What is asked wrongly is 400 with a sentence in `error`, what cannot be run now is 503.

import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { OperatingError } from '../errors.js';
import type { HttpReply, HttpRequest, HttpServer } from '../http-server.js';
import { RETRY_MS_MAX, RETRY_MS_MIN } from '../limits.js';
import { CONTEXT_MAX, INFER_BODY_BYTES_MAX, INFER_REQUESTS_MAX } from '../limits-models.js';
import { parityError } from './forecaster.js';
import { invalid, type Model } from './manifest.js';
import {
  BadMessage,
  BINARY_EXTENSION,
  decodeMessage,
  encodeMessage,
  JSON_LENGTH_HEADER,
  oipType,
} from './oip-message.js';
import type { Runtime, Tensor } from './tensor.js';

export interface OipParts {
  model: Model;
  runtime: Runtime;
  /** Of this program. */
  version: string;
  /** Told once per request that reached the model: its rows, or undefined when it failed. */
  onInfer(rows: number | undefined): void;
}

type Sized = readonly ('batch' | number)[];

export class OipServer {
  readonly #parts: OipParts;
  #state: 'loading' | 'ready' | { refusal: string } = 'loading';
  #requests = 0;

  constructor(parts: OipParts) {
    this.#parts = parts;
  }

  /**
   * Loads the model and compares its answers with what its makers wrote down; tries again while the runtime cannot run, until
   * the signal is aborted. Rejects with `model_invalid`.
   */
  async start(signal: AbortSignal): Promise<void> {
    for (let pause = RETRY_MS_MIN; !signal.aborted; pause = Math.min(2 * pause, RETRY_MS_MAX)) {
      try {
        await this.#prove();
        this.#state = 'ready';
        return;
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        this.#state = { refusal: error.message };
        if (!error.retryable) throw error;
        await sleep(pause, undefined, { signal }).catch(() => {}); // the end of waiting
      }
    }
  }

  async #prove(): Promise<void> {
    const { model, runtime } = this.#parts;
    const worst = await parityError(model, runtime);
    const { tolerance } = model.manifest.parity;
    if (worst <= tolerance) return;
    throw invalid(model.path, `its answers differ by ${worst.toPrecision(2)} from its parity file`);
  }

  unready(): string | undefined {
    if (this.#state === 'loading') return 'loading the model';
    return this.#state === 'ready' ? this.#parts.runtime.trouble() : this.#state.refusal;
  }

  routes(server: HttpServer): void {
    void server.register(async (scope) => this.#routes(scope as unknown as FastifyInstance), {
      prefix: '/v2',
    });
  }

  #routes(scope: FastifyInstance): void {
    scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) =>
      answerError(error, reply),
    );
    // Tensors are read here, whatever a client calls them.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: INFER_BODY_BYTES_MAX },
      (_request, body, done) => done(null, body),
    );
    scope.addHook('onRequest', async (_request, reply) => {
      if (this.#requests >= INFER_REQUESTS_MAX) {
        throw new OperatingError('overloaded', `${this.#requests} requests are in work here`);
      }
      this.#requests++;
      // Comes once, however the request ends.
      reply.raw.once('close', () => this.#requests--);
    });
    const { version } = this.#parts;
    const extensions = [BINARY_EXTENSION];
    scope.get('', async () => ({ name: 'treeline', version, extensions }));
    scope.get('/health/live', async () => ({ live: true }));
    scope.get('/health/ready', async (_request, reply) => this.#ready(reply));
    for (const path of ['/models/:name', '/models/:name/versions/:version']) {
      scope.get(path, async (request) => this.#describe(request));
      scope.get(`${path}/ready`, async (request, reply) => {
        this.#named(request);
        return this.#ready(reply);
      });
      scope.post(`${path}/infer`, (request, reply) => this.#infer(request, reply));
    }
  }

  #ready(reply: HttpReply): object {
    const reason = this.unready();
    reply.code(reason === undefined ? 200 : 503);
    return { ready: reason === undefined, ...(reason !== undefined && { error: reason }) };
  }

  #describe(request: HttpRequest): object {
    this.#named(request);
    const { manifest } = this.#parts.model;
    const { outputs, horizon, id, version } = manifest;
    const sizes = { b: -1, q: outputs.levels.length, h: horizon.native, v: 1 };
    const shape = [...outputs.layout].map((letter) => sizes[letter as keyof typeof sizes]);
    return {
      name: id,
      versions: [version],
      platform: 'onnxruntime_onnx',
      inputs: wantedInputs(this.#parts.model).map(({ name, datatype, shape: sized }) => ({
        name,
        datatype,
        shape: sized.map((size) => (size === 'batch' ? -1 : size)),
      })),
      outputs: [{ name: outputs.name, datatype: 'FP32', shape }],
    };
  }

  async #infer(request: HttpRequest, reply: HttpReply): Promise<unknown> {
    this.#named(request);
    const { model, runtime, onInfer } = this.#parts;
    const { batch, outputs, id, version } = model.manifest;
    const unready = this.unready();
    if (unready !== undefined) throw new OperatingError('inference_unavailable', unready);
    const header = request.headers[JSON_LENGTH_HEADER];
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const { fields, tensors } = decodeMessage(body, {
      list: 'inputs',
      jsonLength: typeof header === 'string' ? header : undefined,
      valuesMax: batch.max * CONTEXT_MAX,
    });
    const rows = checkInputs(model, tensors);
    const isBinary = wantsBinary(fields, outputs.name);
    let output: Tensor;
    try {
      output = await runtime.run(tensors);
    } catch (error) {
      onInfer(undefined);
      throw error;
    }
    onInfer(rows);
    const requestId = fields['id'];
    const answer = {
      model_name: id,
      model_version: version,
      ...(typeof requestId === 'string' && { id: requestId }),
    };
    const sent = encodeMessage(
      { fields: answer, tensors: [output] },
      { list: 'outputs', isBinary },
    );
    return reply.headers(sent.headers).send(sent.body);
  }

  /** Throws when it is not our model that is asked for. */
  #named(request: HttpRequest): void {
    const { name, version } = request.params as { name: string; version?: string };
    const { manifest } = this.#parts.model;
    if (name === manifest.id && (version === undefined || version === manifest.version)) return;
    throw Object.assign(
      new Error(`The model here is ${manifest.id}, version ${manifest.version}`),
      {
        statusCode: 404,
      },
    );
  }
}

function wantedInputs({ manifest }: Model): { name: string; datatype: string; shape: Sized }[] {
  const { context, mask, constants = [] } = manifest.inputs;
  const { shape } = context;
  return [
    { name: context.name, datatype: oipType(context.dtype), shape },
    ...(mask === undefined ? [] : [{ name: mask.name, datatype: oipType(mask.dtype), shape }]),
    ...constants.map(({ name, dtype, shape: own }) => ({
      name,
      datatype: oipType(dtype),
      shape: own,
    })),
  ];
}

/** How many rows they have. Throws BadMessage. */
function checkInputs(model: Model, tensors: readonly Tensor[]): number {
  const wanted = wantedInputs(model);
  const { max } = model.manifest.batch;
  const rows = tensors[0]?.dims[0] ?? 0;
  if (rows < 1 || rows > max)
    throw new BadMessage(`${rows} rows are asked for, 1 to ${max} are taken`);
  for (const { name, datatype, shape } of wanted) {
    const tensor = tensors.find((one) => one.name === name);
    if (tensor === undefined) throw new BadMessage(`the input ${name} is missing`);
    const want = shape.map((size) => (size === 'batch' ? rows : size));
    const isFitting = tensor.dims.join() === want.join() && oipType(tensor.dtype) === datatype;
    if (!isFitting) {
      const is = `${oipType(tensor.dtype)} [${tensor.dims}]`;
      throw new BadMessage(`the input ${name} is ${is}, not ${datatype} [${want}]`);
    }
  }
  if (tensors.length !== wanted.length) {
    throw new BadMessage(`${tensors.length} inputs are given, the model takes ${wanted.length}`);
  }
  return rows;
}

/** Said of the output, or of all of them. Throws BadMessage for an output that there is not. */
function wantsBinary(fields: Record<string, unknown>, output: string): boolean {
  const outputs = fields['outputs'];
  const flag = (parameters: unknown, key: string) =>
    (parameters as Record<string, unknown> | undefined)?.[key] === true;
  if (!Array.isArray(outputs) || outputs.length === 0) {
    return flag(fields['parameters'], 'binary_data_output');
  }
  const wanted = outputs as (Record<string, unknown> | null)[];
  const other = wanted.find((one) => one?.['name'] !== output);
  if (other !== undefined) {
    throw new BadMessage(`there is no output ${String(other?.['name'])}, but ${output}`);
  }
  return flag(wanted[0]?.['parameters'], 'binary_data');
}

function answerError(error: Error & { statusCode?: number }, reply: HttpReply): HttpReply {
  const known = error instanceof BadMessage ? 400 : error.statusCode;
  const status = error instanceof OperatingError ? error.status : (known ?? 500);
  if (status === 503) reply.header('Retry-After', '1');
  const isKnown = status < 500 || error instanceof OperatingError;
  return reply.code(status).send({ error: isKnown ? error.message : 'Internal error' });
}
