// The api's part of the composition root: its store, whose series it shows, and what of its settings may change while it runs.

import { strict as assert } from 'node:assert';
import type { SeriesSource } from './api/rest-series.js';
import { openShared, type Shared } from './compose-outputs.js';
import { addPage, processView } from './compose-page.js';
import { addPast } from './compose-past.js';
import { seriesOf } from './compose-scorer.js';
import { suspectSettings } from './compose-suspects.js';
import { durationMs, type Settings } from './config.js';
import type { Scorer } from './scorer/scorer.js';
import type { Site } from './site.js';

/** What others make of it. */
export interface ApiSide {
  /** Absent where nobody can be asked. */
  series: SeriesSource | undefined;
  shared: Shared | undefined;
  /** Undefined while another api decides and sends; never in one that has its store to itself. */
  permit(): AbortSignal | undefined;
}

export async function addApi(site: Site, scorer: Scorer | undefined): Promise<ApiSide> {
  const { Api } = await import('./api/api.js');
  const { log, storage, metrics, logger, clock, settings } = site;
  const shared = await openShared(site);
  const store = shared?.store ?? storage.own;
  assert(store !== undefined, 'an api has a volume for its anomalies');
  const { openPeers } = await import('./scorer-access.js');
  const series = scorer === undefined ? await openPeers(site) : await seriesOf(scorer);
  const alertsOf = ({ mode, alerts }: Settings) => ({ mode, budget: alerts.budget });
  const api = new Api({
    ...{ log, store, metrics, logger, clock },
    settings: {
      retentionMs: durationMs(settings.anomalies.retention),
      partitionBy: settings.ingest.partitionBy,
      alerts: alertsOf(settings),
      alertmanagers: settings.alerts.alertmanagers,
      ...suspectSettings(settings).verdicts,
    },
    ...(shared !== undefined && { shared }),
    hasTopic: settings.log.kind === 'kafka',
    ...(series !== undefined && { series }),
    describe: processView(site),
  });
  await addPage(site.server, logger);
  api.routes(site.server);
  if (series !== undefined) await addPast(site, series);
  site.steps.push({
    keys: ['mode', 'alerts.budget'],
    apply: (next) => api.reconfigure(alertsOf(next)),
  });
  site.checks.push({ name: 'api', missing: () => api.unready() });
  if (api.sharing !== undefined) shared?.observe(api.sharing);
  await api.start();
  site.undo.push(() => api.stop());
  site.failures.push(api.failed);
  const always = new AbortController().signal;
  const permit = () => (api.sharing === undefined ? always : api.sharing.permit());
  return { series, shared, permit };
}
