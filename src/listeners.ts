// The addresses that the program listens on. One serves everything, unless settings give Prometheus (`listenMetrics`) or
// the operator (`listenAdmin`) an address of their own, which a firewall can then tell apart from the one that senders
// reach: what is served there is served there alone. All ask for the same credentials and have the same certificate, and
// each tells whoever asks whether the process lives and is ready.

import type { Settings } from './config.js';
import { createHttpServer, type HttpServer, type HttpServerParts, listen } from './http-server.js';
import { listenAddress } from './settings-rules.js';

export interface Listeners {
  /** Senders, REST, and what has no listener of its own. */
  main: HttpServer;
  /** `/metrics` and `/metrics/anomalies`. */
  metrics: HttpServer;
  /** `/-/reload`. */
  admin: HttpServer;
  /** Each once. */
  all: readonly HttpServer[];
  /** Rejects with `address_in_use`; then none of them listens. */
  listen(): Promise<Urls>;
  /** Resolves when every request in work has ended. */
  close(): Promise<void>;
}

/** With the ports that were taken. */
export interface Urls {
  main: string;
  metrics: string;
}

export function createListeners(settings: Settings, parts: HttpServerParts): Listeners {
  const server = createHttpServer(parts);
  const ownOr = (address: string) => (address === '' ? server : createHttpServer(parts));
  const metrics = ownOr(settings.listenMetrics);
  const admin = ownOr(settings.listenAdmin);
  const all = [...new Set([server, metrics, admin])];
  const close = async () => {
    await Promise.all(all.map((server) => server.close()));
  };
  return {
    ...{ main: server, metrics, admin, all, close },
    async listen() {
      try {
        const main = await listen(server, listenAddress(settings.listen));
        const urls = { main, metrics: main };
        if (metrics !== server) {
          const address = listenAddress(settings.listenMetrics);
          urls.metrics = await listen(metrics, address, 'listenMetrics');
        }
        if (admin !== server) {
          await listen(admin, listenAddress(settings.listenAdmin), 'listenAdmin');
        }
        return urls;
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}
