// One connection of a sender, as cheap as it can be: headers and body are one write, and of the answer
// only the status, Retry-After and its length are looked at. The usual client costs several times as
// much per request as a refusal costs the program, so that it could not overload it from one machine.

import { connect, type Socket } from 'node:net';
import { WRITE_HEADERS } from '../test/remote-write-sender.js';

export interface LeanAnswer {
  status: number;
  retryAfterSeconds: number;
}

const ANSWER_MS_MAX = 30_000;

export class LeanConnection {
  readonly #host: string;
  readonly #port: number;
  readonly #head: string;
  #socket: Socket | undefined;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#host = hostname;
    this.#port = Number(port);
    const headers = Object.entries(WRITE_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#head = `POST /api/v1/write HTTP/1.1\r\nHost: ${hostname}\r\n${headers.join('')}`;
  }

  /** Undefined when the connection ended before there was a whole answer, or none came in 30 s. */
  send(body: Uint8Array): Promise<LeanAnswer | undefined> {
    this.#socket ??= connect({ host: this.#host, port: this.#port, noDelay: true });
    const socket = this.#socket;
    return new Promise((resolve) => {
      let text = '';
      const end = (answer: LeanAnswer | undefined, isOpen: boolean): void => {
        socket.removeAllListeners();
        socket.setTimeout(0);
        // What still happens to it concerns nobody.
        socket.on('error', () => undefined);
        if (!isOpen) {
          socket.destroy();
          this.#socket = undefined;
        }
        resolve(answer);
      };
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        const answer = answerIn(text);
        if (answer !== undefined) end(answer, !/^connection: close\r$/im.test(text));
      });
      socket.on('close', () => end(undefined, false));
      socket.on('error', () => end(undefined, false));
      socket.setTimeout(ANSWER_MS_MAX, () => end(undefined, false));
      socket.cork();
      socket.write(`${this.#head}Content-Length: ${body.length}\r\n\r\n`, 'latin1');
      socket.write(body);
      socket.uncork();
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

/** Undefined until the answer is whole. */
function answerIn(text: string): LeanAnswer | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const length = Number(/^content-length: (\d+)\r$/im.exec(text)?.[1] ?? 0);
  if (text.length < end + 4 + length) return undefined;
  const retryAfterSeconds = Number(/^retry-after: (\d+)\r$/im.exec(text)?.[1] ?? 0);
  return { status: Number(text.slice(9, 12)), retryAfterSeconds };
}
