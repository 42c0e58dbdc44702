// Puts the web page in front of the api role, and says of the process what its status route shows: where the page lies is
// known here, beside the compiled program, whether that runs from dist/ or from its sources.

import { namedPrometheus } from './compose-past.js';
import type { Settings } from './config.js';
import type { HttpServer, Logger } from './http-server.js';
import type { Metrics } from './metrics.js';
import { version } from './version.js';

const DEMO_ROUTE = '/demo/faults';

export async function addPage(server: HttpServer, logger: Logger): Promise<void> {
  const { loadPage, pageRoutes } = await import('./api/page.js');
  const isCompiled = new URL('.', import.meta.url).pathname.endsWith('/dist/src/');
  const page = loadPage(new URL(isCompiled ? '../web/' : '../dist/web/', import.meta.url));
  if (page === undefined) logger.warn({}, 'The web page has not been built; / is answered 404');
  pageRoutes(server, page);
}

/** What this process is, what it received, and what of that was not logged and why; part of its status. */
export function processView(of: {
  settings: Settings;
  metrics: Metrics;
  server: HttpServer;
  views: readonly (() => object)[];
}): () => Promise<object> {
  const { settings, metrics, server, views } = of;
  return async () => {
    const [received, rejected] = await Promise.all([
      metrics.received.get(),
      metrics.rejected.get(),
    ]);
    const prometheus = namedPrometheus(settings);
    const reasons = rejected.values.map(({ labels, value }) => [String(labels.reason), value]);
    return {
      version: version(),
      roles: settings.roles,
      memoryBytes: process.memoryUsage().rss,
      uptimeSeconds: process.uptime(),
      samples: {
        received: received.values[0]?.value ?? 0,
        rejected: Object.fromEntries(reasons),
      },
      // For whoever has sent nothing yet, and may have history there.
      ...(prometheus !== undefined && { prometheus }),
      // So that the page need not try a route that only the demo has.
      ...(server.hasRoute({ method: 'GET', url: DEMO_ROUTE }) && { demo: true }),
      ...Object.assign({}, ...views.map((view) => view())),
    };
  };
}
