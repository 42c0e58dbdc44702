// A proxy in front of one Kafka broker that understands the frames: a request is a length, an API key, a version and a
// correlation id, an answer a length and the correlation id (https://kafka.apache.org/protocol). A rule sees each frame
// and says what becomes of it: passed, late, swallowed, or the end of the connection. Order within a connection is kept.

import { connect, createServer, type Socket } from 'node:net';

/** The API keys that tests name. */
export const API = {
  produce: 0,
  fetch: 1,
  listOffsets: 2,
  metadata: 3,
  offsetCommit: 8,
  findCoordinator: 10,
  joinGroup: 11,
  heartbeat: 12,
  syncGroup: 14,
} as const;

export interface Frame {
  way: 'request' | 'answer';
  /** The API key; of an answer, that of its request. */
  api: number;
  bytes: number;
}

/** Undefined: as it is. `swallow`: the connection stays, and the other side waits. */
export type Fault = { delayMs: number } | 'swallow' | 'reset' | undefined;

export interface FaultProxy {
  rule: (frame: Frame) => Fault;
  /** Connections through it just now. */
  connections(): number;
  stop(): Promise<void>;
}

export async function startFaultProxy(place: {
  proxyPort: number;
  behindPort: number;
}): Promise<FaultProxy> {
  const pairs = new Set<() => void>();
  const server = createServer((client) => {
    const broker = connect(place.behindPort, '127.0.0.1');
    const end = () => {
      pairs.delete(end);
      client.destroy();
      broker.destroy();
    };
    const reset = () => {
      client.resetAndDestroy();
      broker.resetAndDestroy();
    };
    pairs.add(end);
    /** Requests without an answer yet: correlation id → API key. */
    const asked = new Map<number, number>();
    for (const socket of [client, broker]) {
      socket.setNoDelay(true);
      socket.on('error', () => {}); // 'close' follows
      socket.on('close', end);
    }
    forward({ from: client, to: broker, reset }, (frame) => {
      const api = frame.readInt16BE(4);
      asked.set(frame.readInt32BE(8), api);
      return proxy.rule({ way: 'request', api, bytes: frame.length });
    });
    forward({ from: broker, to: client, reset }, (frame) => {
      const id = frame.readInt32BE(4);
      const api = asked.get(id) ?? -1;
      asked.delete(id);
      return proxy.rule({ way: 'answer', api, bytes: frame.length });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(place.proxyPort, '127.0.0.1', resolve);
  });
  const proxy: FaultProxy = {
    rule: () => undefined,
    connections: () => pairs.size,
    async stop() {
      for (const end of pairs) end();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

function forward(
  { from, to, reset }: { from: Socket; to: Socket; reset: () => void },
  judge: (frame: Buffer) => Fault,
): void {
  let rest = Buffer.alloc(0);
  /** Behind a late frame all are late. */
  let late = Promise.resolve();
  let waiting = 0;
  from.on('data', (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 4) {
      const size = 4 + rest.readInt32BE(0);
      if (rest.length < size) return;
      const frame = rest.subarray(0, size);
      rest = rest.subarray(size);
      const fault = judge(frame);
      if (fault === 'swallow') continue;
      if (fault === 'reset') {
        reset();
        return;
      }
      const delayMs = fault?.delayMs ?? 0;
      if (delayMs === 0 && waiting === 0) {
        to.write(frame);
        continue;
      }
      waiting++;
      const due = performance.now() + delayMs;
      late = late
        .then(() => new Promise((resolve) => setTimeout(resolve, due - performance.now())))
        .then(() => {
          waiting--;
          if (!to.destroyed) to.write(frame);
        });
    }
  });
}
