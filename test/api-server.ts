// A server on a free port that answers as a test says: what a Prometheus, a proxy in front of it or another program might
// send. It keeps what it was asked.

import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  method: string;
  /** Below /api/v1/. */
  path: string;
  parameters: Record<string, string>;
  authorization: string | undefined;
}

export interface ApiServer {
  readonly url: string;
  readonly port: number;
  readonly asked: Asked[];
  stop(): Promise<void>;
}

export async function startApiServer(
  answer: (asked: Asked, response: ServerResponse) => void,
  port = 0,
): Promise<ApiServer> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://x');
      const body = new URLSearchParams(Buffer.concat(chunks).toString());
      const one = {
        method: request.method ?? '',
        path: url.pathname.replace('/api/v1/', ''),
        parameters: Object.fromEntries([...url.searchParams, ...body]),
        authorization: request.headers.authorization,
      };
      asked.push(one);
      answer(one, response);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const { port: taken } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${taken}`,
    port: taken,
    asked,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

export function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

export function sendSuccess(response: ServerResponse, data: object, more: object = {}): void {
  sendJson(response, 200, { status: 'success', data, ...more });
}

/** As Prometheus words it. */
export function sendFault(
  response: ServerResponse,
  status: number,
  [errorType, error]: [string, string],
): void {
  sendJson(response, status, { status: 'error', errorType, error });
}
