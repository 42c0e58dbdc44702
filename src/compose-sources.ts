// The part of the composition root that knows `sources`: settings to queries with a client each, and a reload of them.

import { durationMs, type Settings } from './config.js';
import { sourceName } from './config-sources.js';
import { openPrometheusApi } from './prometheus-api.js';
import { authorizationOf } from './prometheus-credential.js';
import type { Site } from './site.js';
import type { SourceQuery, Taker } from './sources/source.js';
import { createSources } from './sources/sources.js';
import { ONLY_TENANT } from './tenant.js';

/** Throws `config_invalid` when a secret cannot be read. */
export function addSources(site: Site, taker: Taker): void {
  const { settings, metrics, logger, clock } = site;
  const sources = createSources({ taker, metrics, logger, clock });
  sources.use(queriesOf(settings));
  site.undo.push(() => sources.stop());
  site.checks.push({ name: 'sources', missing: () => undefined, note: () => sources.note() });
  site.steps.push({ keys: ['sources'], apply: (next) => sources.use(queriesOf(next)) });
}

function queriesOf({ sources }: Settings): SourceQuery[] {
  return sources.map((source, index) => ({
    name: sourceName(source, index),
    query: source.query,
    everyMs: durationMs(source.every),
    ...(source.timeout !== undefined && { answerMs: durationMs(source.timeout) }),
    tenant: source.tenant ?? ONLY_TENANT,
    api: openPrometheusApi(source.prometheus, authorizationOf(source)),
  }));
}
