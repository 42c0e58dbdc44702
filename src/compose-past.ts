// The part of the composition root that knows where older values are read from: the Prometheus of `backfill`, then those
// of `sources`, each for its own tenant; and a reload of them.

import type { SeriesSource } from './api/rest-series.js';
import type { Settings } from './config.js';
import { sourceName } from './config-sources.js';
import type { PastPlace } from './past-values.js';
import { openPrometheusApi } from './prometheus-api.js';
import { authorizationOf } from './prometheus-credential.js';
import type { Site } from './site.js';
import { ONLY_TENANT } from './tenant.js';

/** Beside the routes about series. Throws `config_invalid` when a secret cannot be read. */
export async function addPast(site: Site, series: SeriesSource): Promise<void> {
  const { server, settings, metrics, logger, clock, steps } = site;
  const { historyRoute } = await import('./api/rest-history.js');
  const { answerError } = await import('./api/query.js');
  const { PastValues } = await import('./past-values.js');
  const { stripLabels, replicas, replicaLabel } = settings.ingest;
  const stripped = replicas === 'elect' ? [...stripLabels, replicaLabel] : stripLabels;
  const past = new PastValues({ clock, stripped, metrics });
  past.use(placesOf(settings));
  steps.push({ keys: ['sources'], apply: (next) => past.use(placesOf(next)) });
  void server.register(
    async (scope) => {
      scope.setErrorHandler((error: Parameters<typeof answerError>[0], request, reply) =>
        answerError(error, { route: request.routeOptions.url, reply, logger }),
      );
      historyRoute(scope, { series, past, clock });
    },
    { prefix: '/anomaly/v1' },
  );
}

/** The Prometheus that a newcomer is told of; undefined when none is named. */
export function namedPrometheus({ backfill, sources }: Settings): string | undefined {
  return backfill.prometheus || sources[0]?.prometheus;
}

/** One place for each address, tenant and credential, in the order of the settings. */
function placesOf({ backfill, sources }: Settings): PastPlace[] {
  const places = new Map<string, PastPlace & { queries: { name: string; query: string }[] }>();
  const add = (
    of: { prometheus: string; tenant?: string | undefined } & Parameters<typeof authorizationOf>[0],
    query?: { name: string; query: string },
  ) => {
    const { prometheus, tenant = ONLY_TENANT, tokenFile, username, passwordFile } = of;
    const key = JSON.stringify([prometheus, tenant, tokenFile, username, passwordFile]);
    const place = places.get(key) ?? {
      tenant,
      api: openPrometheusApi(prometheus, authorizationOf(of)),
      queries: [],
    };
    places.set(key, place);
    if (query !== undefined) place.queries.push(query);
  };
  if (backfill.prometheus !== '') {
    const { prometheus, tenant, tokenFile, username, passwordFile } = backfill;
    add({
      ...{ prometheus, tenant: tenant || undefined },
      tokenFile: tokenFile || undefined,
      username: username || undefined,
      passwordFile: passwordFile || undefined,
    });
  }
  for (const [index, source] of sources.entries()) {
    add(source, { name: sourceName(source, index), query: source.query });
  }
  return [...places.values()];
}
