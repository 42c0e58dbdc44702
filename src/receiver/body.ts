// Reads a request body within three bounds: bytes of this body, bytes of all bodies being read, and time. The chunks
// stay apart: the decoder's memory is the one place where they meet.

import type { IncomingMessage } from 'node:http';
import { BODY_BYTES_MAX, BODY_READ_MS_MAX, READING_BYTES_MAX } from '../limits.js';

export class BodyRefused extends Error {
  readonly status: 408 | 413 | 503;

  constructor(status: 408 | 413 | 503, message: string) {
    super(message);
    this.name = 'BodyRefused';
    this.status = status;
  }
}

export interface Body {
  chunks: Uint8Array[];
  bytes: number;
}

/** Counts what all requests of a process hold, so that many bodies at once are refused before they are read. */
export class BodyBudget {
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Rejects with BodyRefused, or with the stream's error when the sender goes away. */
  async read(request: IncomingMessage): Promise<Body> {
    const declared = Number(request.headers['content-length'] ?? 0);
    if (this.#bytes + declared > READING_BYTES_MAX) throw tooBusy();
    let held = declared;
    this.#bytes += held;
    const body: Body = { chunks: [], bytes: 0 };
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      request.destroy(
        new BodyRefused(408, `The body did not arrive within ${BODY_READ_MS_MAX} ms`),
      );
    }, BODY_READ_MS_MAX);
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        body.bytes += chunk.length;
        body.chunks.push(chunk);
        if (body.bytes > held) {
          this.#bytes += body.bytes - held;
          held = body.bytes;
        }
        if (body.bytes > BODY_BYTES_MAX) {
          throw new BodyRefused(
            413,
            `The body has more than ${BODY_BYTES_MAX} bytes; send smaller batches`,
          );
        }
        if (this.#bytes > READING_BYTES_MAX) throw tooBusy();
      }
      return body;
    } finally {
      clearTimeout(timer);
      this.#bytes -= held;
      if (isLate) body.chunks.length = 0;
    }
  }
}

function tooBusy(): BodyRefused {
  return new BodyRefused(503, 'Too many bytes are being received already; try again later');
}
