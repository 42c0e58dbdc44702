// A model on another machine, behind a server that speaks the Open Inference Protocol: ours with the role inference, Triton,
// KServe. Before the first run the server is asked what its model takes and gives, and refused when that is not what our
// manifest says. A run has one deadline; what a retry can mend is tried once more within it; failures make it rest.

import { randomUUID } from 'node:crypto';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import { REMOTE_ANSWER_BYTES_MAX, REMOTE_CONNECTIONS_MAX, RUN_MS_MAX } from '../limits-models.js';
import type { Manifest } from './manifest.js';
import {
  BadMessage,
  BINARY_EXTENSION,
  decodeMessage,
  encodeMessage,
  JSON_LENGTH_HEADER,
  oipType,
} from './oip-message.js';
import { Rest } from './rest.js';
import type { Runtime, Tensor } from './tensor.js';

export interface RemoteParts {
  /** Without a path the protocol's own paths are below it. */
  url: string;
  model: Manifest;
  /** Value of the Authorization header, asked for every request. */
  authorization?: (() => string) | undefined;
  clock: () => number;
  runMsMax?: number;
}

const RETRIED = [429, 502, 503];
const RETRY_MS_MIN = 20;
const RETRY_MS_SPREAD = 60;
const WORDS_MAX = 200;

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

/** What a server said was wrong with the question; asking again is of no use, and the server is not ill. */
class Refused extends Error {}

export class RemoteRuntime implements Runtime {
  readonly kind = 'remote';
  readonly #parts: RemoteParts;
  readonly #rest = new Rest();
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #closing = new AbortController();
  /** Whether the server takes binary tensors; undefined until it has been asked. */
  #isBinary: boolean | undefined;

  constructor(parts: RemoteParts) {
    this.#parts = parts;
    const pool = { keepAlive: true, maxSockets: REMOTE_CONNECTIONS_MAX };
    this.#agent = parts.url.startsWith('https:') ? new HttpsAgent(pool) : new HttpAgent(pool);
  }

  get failures(): number {
    return this.#rest.count;
  }

  trouble(): string | undefined {
    const reason = this.#rest.reason(this.#parts.clock());
    return reason === undefined ? undefined : `the remote runtime rests: ${reason}`;
  }

  async prepare(): Promise<void> {}

  async run(inputs: readonly Tensor[]): Promise<Tensor> {
    const trouble = this.trouble();
    if (trouble !== undefined) throw new OperatingError('inference_unavailable', trouble);
    const signal = AbortSignal.any([
      this.#closing.signal,
      AbortSignal.timeout(this.#parts.runMsMax ?? RUN_MS_MAX),
    ]);
    try {
      this.#isBinary ??= await this.#meet(signal);
      return await this.#infer(inputs, this.#isBinary, signal);
    } catch (error) {
      // A server that was replaced may have changed: it is met anew.
      this.#isBinary = undefined;
      if (error instanceof OperatingError) throw error;
      const reason = `${this.#parts.url}: ${said(error, signal)}`;
      this.#rest.failed(reason, this.#parts.clock());
      throw new OperatingError('inference_unavailable', `The remote runtime ${reason}`, error);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#agent.destroy();
  }

  /** Whether the server takes binary tensors. */
  async #meet(signal: AbortSignal): Promise<boolean> {
    const server = object(await this.#ask('GET', '/v2', signal));
    const { id } = this.#parts.model;
    const answer = await this.#ask('GET', `/v2/models/${id}`, signal);
    const fault = metadataFault(this.#parts.model, object(answer));
    if (fault !== undefined) throw new Refused(`its model ${id} is another one: ${fault}`);
    const { extensions } = server as { extensions?: unknown };
    return Array.isArray(extensions) && extensions.includes(BINARY_EXTENSION);
  }

  async #infer(inputs: readonly Tensor[], isBinary: boolean, signal: AbortSignal): Promise<Tensor> {
    const { model } = this.#parts;
    const id = randomUUID();
    const { name } = model.outputs;
    const outputs = [{ name, parameters: { binary_data: isBinary } }];
    const message = { fields: { id, outputs }, tensors: [...inputs] };
    const sent = encodeMessage(message, { list: 'inputs', isBinary });
    const answer = await this.#ask('POST', `/v2/models/${model.id}/infer`, signal, sent);
    const header = answer.headers[JSON_LENGTH_HEADER];
    const { fields, tensors } = decodeMessage(answer.body, {
      list: 'outputs',
      jsonLength: typeof header === 'string' ? header : undefined,
      valuesMax: REMOTE_ANSWER_BYTES_MAX / 4,
    });
    if (fields['id'] !== id) throw new BadMessage(`it answers the request ${String(fields['id'])}`);
    const output = tensors.find((tensor) => tensor.name === name);
    if (output === undefined) throw new BadMessage(`it answers without ${name}`);
    return output;
  }

  /** Once more when the connection fails or the server is busy; every other answer but 200 is an error. */
  async #ask(
    method: 'GET' | 'POST',
    path: string,
    signal: AbortSignal,
    sent?: { body: Buffer; headers: Record<string, string> },
  ): Promise<Answer> {
    for (let isLast = false; ; isLast = true) {
      try {
        const answer = await this.#request({ method, path, signal, sent });
        if (answer.status === 200) return answer;
        const words = answer.body.toString('utf8').slice(0, WORDS_MAX).trim();
        const text = `${method} ${path} is answered ${answer.status}: ${words}`;
        if (isLast || !RETRIED.includes(answer.status)) throw new Refused(text);
        await sleep(pauseOf(answer), undefined, { signal });
      } catch (error) {
        if (isLast || signal.aborted || error instanceof Refused) throw error;
        await sleep(pauseOf(undefined), undefined, { signal });
      }
    }
  }

  #request(asked: {
    method: string;
    path: string;
    signal: AbortSignal;
    sent: { body: Buffer; headers: Record<string, string> } | undefined;
  }): Promise<Answer> {
    const { method, path, signal, sent } = asked;
    const { url, authorization } = this.#parts;
    const target = new URL(`${url.replace(/\/+$/, '')}${path}`);
    const headers: Record<string, string> = { ...sent?.headers };
    if (authorization !== undefined) headers['authorization'] = authorization();
    if (sent !== undefined) headers['content-length'] = String(sent.body.length);
    const open = target.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = open(target, { method, headers, signal, agent: this.#agent }, (response) => {
        void collect(response).then(resolve, reject);
      });
      request.on('error', reject);
      request.end(sent?.body);
    });
  }
}

async function collect(response: IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > REMOTE_ANSWER_BYTES_MAX)
      throw new Refused(`it answers more than ${REMOTE_ANSWER_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(parts),
  };
}

/** Spread out, so that many who failed together do not come back together. A server may ask for more, within our deadline. */
function pauseOf(answer: Answer | undefined): number {
  const seconds = Number(answer?.headers['retry-after'] ?? 0);
  const asked = Number.isFinite(seconds) ? 1000 * Math.min(seconds, 1) : 0;
  return Math.max(asked, RETRY_MS_MIN + RETRY_MS_SPREAD * Math.random());
}

function object(answer: Answer): unknown {
  try {
    return JSON.parse(answer.body.toString('utf8')) ?? {};
  } catch {
    throw new BadMessage('it answers no JSON');
  }
}

/** What of a server's description does not fit the manifest. */
export function metadataFault(model: Manifest, metadata: unknown): string | undefined {
  const { inputs = [], outputs = [] } = metadata as { inputs?: unknown; outputs?: unknown };
  const { context, mask, constants = [] } = model.inputs;
  const wanted = [
    { name: context.name, datatype: oipType('float32'), dims: context.shape.slice(1) },
    ...(mask === undefined
      ? []
      : [{ name: mask.name, datatype: oipType(mask.dtype), dims: context.shape.slice(1) }]),
    ...constants.map(({ name, dtype, shape }) => ({
      name,
      datatype: oipType(dtype),
      dims: shape.slice(1),
    })),
  ];
  for (const { name, datatype, dims } of wanted) {
    const fault = entryFault(inputs, name, { datatype, dims });
    if (fault !== undefined) return fault;
  }
  return entryFault(outputs, model.outputs.name, { datatype: oipType('float32') });
}

/** -1 in a shape stands for any size. Servers disagree on whether the batch is a part of it: the last sizes are compared. */
function entryFault(
  list: unknown,
  name: string,
  wanted: { datatype: string; dims?: readonly unknown[] },
): string | undefined {
  const entries = Array.isArray(list) ? (list as Record<string, unknown>[]) : [];
  const entry = entries.find((one) => one?.['name'] === name);
  if (entry === undefined) {
    return `it has no tensor ${name}, but ${entries.map((one) => String(one?.['name'])).join(', ')}`;
  }
  const { datatype, shape } = entry as { datatype?: unknown; shape?: unknown };
  if (datatype !== wanted.datatype) return `${name} is ${String(datatype)}, not ${wanted.datatype}`;
  const { dims = [] } = wanted;
  const sizes = (Array.isArray(shape) ? (shape as unknown[]) : []).slice(-dims.length);
  const isFitting =
    dims.length === 0 ||
    (sizes.length === dims.length &&
      sizes.every((size, index) => Number(size) === -1 || Number(size) === dims[index]));
  return isFitting
    ? undefined
    : `${name} has the shape [${String(shape)}], not [batch,${dims.join()}]`;
}

function said(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'no answer in time';
  const { message, code } = error as NodeJS.ErrnoException;
  return message === '' ? (code ?? 'it cannot be reached') : message;
}
