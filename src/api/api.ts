// The api role: reads candidates and what people have told, keeps the timeline of both current and stored, and serves it.
//
//   candidates ─▶ timeline ─settle─▶ store: anomalies, then the position      (nothing read is lost, nothing counts twice)
//   verdicts   ─▶     │
//   control    ─▶     │
//                  refresh, at most every REFRESH_MS ─▶ store: decisions ─▶ event stream, Alertmanagers
//
// Decisions are stored before anybody hears of them, so that after a crash nobody is told twice.

import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import type { Notice } from '../gen/anomaly_pb.js';
import { CandidateSchema } from '../gen/candidate_pb.js';
import { type Control, ControlSchema } from '../gen/control_pb.js';
import type { HttpServer, Logger } from '../http-server.js';
import { BUDGET_DAYS, REFRESH_MS, RETRY_MS_MAX, RETRY_MS_MIN } from '../limits.js';
import type { Log } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import { type Running, runStage, type Stage } from '../stage.js';
import type { StateStore } from '../state/state-store.js';
import { ONLY_TENANT } from '../tenant.js';
import { AlertSender } from './alertmanager.js';
import { firingAlerts } from './alerts.js';
import type { Anomaly } from './anomalies.js';
import {
  CANDIDATE_FOLD,
  loadAnomalies,
  loadNotices,
  loadPositions,
  save,
  savePosition,
  VERDICT_FOLD,
} from './archive.js';
import { type Positions, readOnFrom, verdictStage } from './folding.js';
import { observeApi } from './observed.js';
import { answerError } from './query.js';
import { anomalyRoutes } from './rest-anomalies.js';
import { controlRoutes } from './rest-control.js';
import { type SeriesSource, seriesRoutes, statusRoute } from './rest-series.js';
import { anomalyRow, incidentRow } from './rows.js';
import { EventStream } from './stream.js';
import { type Refreshed, Timeline, type TimelineSettings } from './timeline.js';

export interface ApiParts {
  log: Log;
  store: StateStore;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  settings: TimelineSettings & { alertmanagers: readonly string[] };
  /** Absent in a process that scores nothing and knows of nobody who does. */
  series?: SeriesSource;
  /** What a status answer says of the process. */
  describe: () => object;
}

/** The partition of the control log whose records are in force. */
const CONTROL_PARTITION = 0;
/** Requests bring the view up to date themselves, unless the last time took so long that they would do little else. */
const REFRESH_REST = 4;

export class Api {
  readonly timeline: Timeline;
  readonly #parts: ApiParts;
  readonly #stream = new EventStream();
  readonly #alerts: AlertSender;
  #running: { candidates: Running; verdicts: Running; control: Running } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #refreshed = { atMs: Number.NEGATIVE_INFINITY, tookMs: 0 };
  /** What is not yet in the store. */
  #unsaved = {
    anomalies: new Set<Anomaly>(),
    notices: new Map<string, Notice>(),
    forgotten: new Set<string>(),
  };
  #saving: Promise<void> = Promise.resolve();
  #fail: (error: unknown) => void = () => {};
  readonly #failed: Promise<void>;
  #isStopped = false;

  constructor(parts: ApiParts) {
    this.#parts = parts;
    const { settings, clock, logger } = parts;
    this.timeline = new Timeline(settings, clock);
    this.#alerts = new AlertSender({
      urls: settings.alertmanagers,
      firing: () => firingAlerts(this.timeline),
      clock,
      logger,
    });
    this.#failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => {}); // whoever awaits `failed` hears of it
    observeApi(parts.metrics, {
      timeline: this.timeline,
      stream: this.#stream,
      alerts: this.#alerts,
    });
  }

  async start(): Promise<void> {
    const { store, log, logger } = this.#parts;
    const { anomalies, notices } = this.timeline;
    await loadAnomalies(store, (anomaly) => anomalies.restore(anomaly));
    await loadNotices(store, (notice) => notices.restore(notice));
    const positions = await loadPositions(store, CANDIDATE_FOLD, log.partitions);
    for (const { firstMs, newestMs } of positions.values()) {
      if (firstMs !== undefined) anomalies.firstMs = Math.min(anomalies.firstMs, Number(firstMs));
      if (newestMs !== undefined) {
        anomalies.newestMs = Math.max(anomalies.newestMs, Number(newestMs));
      }
    }
    const judged = await loadPositions(store, VERDICT_FOLD, log.partitions);
    this.timeline.settle();
    this.#follow(this.timeline.refresh());
    const control = await runStage(log, this.#controlStage(), logger);
    const candidates = await runStage(log, this.#candidateStage(positions), logger);
    const verdicts = await runStage(log, this.#verdictStage(judged), logger);
    this.#running = { candidates, verdicts, control };
    for (const { failed } of [candidates, verdicts, control])
      failed.catch((error) => this.#fail(error));
    this.#alerts.start();
  }

  /** Changes what is decided from now on. Returns the way back. */
  reconfigure(alerts: TimelineSettings['alerts']): () => void {
    const { notices } = this.timeline;
    const before = notices.settings;
    notices.settings = alerts;
    return () => {
      notices.settings = before;
    };
  }

  get failed(): Promise<void> {
    return this.#failed;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#stream.close();
    await this.#running?.candidates.stop();
    await this.#running?.verdicts.stop();
    await this.#running?.control.stop();
    await this.#alerts.stop();
    this.#refresh();
    try {
      await this.#saving;
    } catch (error) {
      // What could not be stored is read and decided again at the next start.
      if (!(error instanceof OperatingError)) throw error;
    }
  }

  unready(): string | undefined {
    const running = this.#running;
    if (running === undefined) return 'not started';
    for (let partition = 0; partition < this.#parts.log.partitions; partition++) {
      if (!running.control.hasCaughtUp(partition)) return 'reading control';
      if (!running.candidates.hasCaughtUp(partition)) return 'reading candidates';
      if (!running.verdicts.hasCaughtUp(partition)) return 'reading verdicts';
    }
    return undefined;
  }

  routes(server: HttpServer): void {
    const { series, logger, clock } = this.#parts;
    // Readers of the stream would keep the listener open for good.
    server.addHook('preClose', async () => this.#stream.close());
    void server.register(
      async (scope) => {
        scope.setErrorHandler((error: Parameters<typeof answerError>[0], request, reply) =>
          answerError(error, { route: request.routeOptions.url, reply, logger }),
        );
        const refresh = () => this.#refreshNow();
        anomalyRoutes(scope, { timeline: this.timeline, stream: this.#stream, refresh });
        const tell = (record: Control) => this.#tell(record);
        controlRoutes(scope, { timeline: this.timeline, tell, clock });
        statusRoute(scope, (tenant, withHash) => this.#status(tenant, withHash), series);
        if (series !== undefined) seriesRoutes(scope, series);
      },
      { prefix: '/anomaly/v1' },
    );
  }

  #candidateStage(positions: Positions): Stage {
    const { log, store, metrics } = this.#parts;
    return {
      topic: 'candidates',
      restore: (partition) => readOnFrom(log, 'candidates', { partition, positions }),
      apply: (_partition, record) => this.timeline.apply(fromBinary(CandidateSchema, record)),
      onGap: (partition, records) => {
        metrics.gapRecords.inc({ topic: 'candidates', partition: String(partition) }, records);
      },
      settle: async (partition, next) => {
        await this.#saveFolded();
        const { firstMs, newestMs } = this.timeline.anomalies;
        const position = { logId: log.id, next, firstMs, newestMs };
        await savePosition(store, `${CANDIDATE_FOLD}${partition}`, position);
        this.#schedule();
      },
    };
  }

  #verdictStage(positions: Positions): Stage {
    const { log, store, metrics, logger } = this.#parts;
    const { timeline } = this;
    return verdictStage({
      ...{ log, store, metrics, logger, timeline, positions },
      save: async () => {
        await this.#saveFolded();
        this.#schedule();
      },
    });
  }

  #controlStage(): Stage {
    const { log, metrics } = this.#parts;
    return {
      topic: 'control',
      restore: async (partition) => {
        const { low, high } = await log.bounds('control', partition);
        return partition === CONTROL_PARTITION ? low : high;
      },
      apply: (partition, record) => {
        if (partition !== CONTROL_PARTITION) return;
        this.timeline.control.apply(fromBinary(ControlSchema, record));
      },
      onGap: (partition, records) => {
        metrics.gapRecords.inc({ topic: 'control', partition: String(partition) }, records);
      },
      settle: async () => this.#schedule(),
    };
  }

  /**
   * A copy goes to every partition, for whoever scores it; the one that puts it into force goes last. When that fails,
   * nothing is in force here, and the caller is told to try again: a second record of the same does no harm.
   */
  async #tell(record: Control): Promise<void> {
    const { log } = this.#parts;
    const bytes = toBinary(ControlSchema, record);
    const partitions = Array.from({ length: log.partitions }, (_, partition) => partition);
    const others = partitions.filter((partition) => partition !== CONTROL_PARTITION);
    await Promise.all(others.map((partition) => log.append('control', partition, bytes, 0)));
    await log.append('control', CONTROL_PARTITION, bytes, 0);
    // At once, so that whoever told us sees it; when it is read again, it changes nothing.
    this.timeline.control.apply(record);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#isStopped) return;
    const pause = Math.max(REFRESH_MS, REFRESH_REST * this.#refreshed.tookMs);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#refresh();
    }, pause);
    this.#timer.unref();
  }

  #refreshNow(): void {
    const { atMs, tookMs } = this.#refreshed;
    if (performance.now() - atMs >= REFRESH_REST * tookMs) this.#refresh();
  }

  #refresh(): void {
    if (!this.timeline.isStale) return;
    const begin = performance.now();
    this.#follow(this.timeline.refresh());
    const atMs = performance.now();
    this.#refreshed = { atMs, tookMs: atMs - begin };
    // What waits for a verdict is decided without it when that takes too long.
    if (this.timeline.isWaiting) this.#schedule();
  }

  /** Stores what a refresh led to, and then tells of it. */
  #follow(changes: Refreshed): void {
    const { anomalies, notices, forgotten } = this.#unsaved;
    for (const anomaly of changes.anomalies) anomalies.add(anomaly);
    for (const [id, notice] of changes.notices) notices.set(id, notice);
    for (const id of changes.forgotten) forgotten.add(id);
    if (changes.forgotten.length > 0) {
      for (const anomaly of anomalies) if (forgotten.has(anomaly.id)) anomalies.delete(anomaly);
    }
    void this.#saveForSure().then(
      () => this.#announce(changes),
      (error: unknown) => this.#fail(error),
    );
  }

  #announce({ anomalies, incidents }: Refreshed): void {
    const { timeline } = this;
    for (const anomaly of anomalies) {
      const { tenant } = anomaly;
      this.#stream.publish({ name: 'anomaly', tenant, row: anomalyRow(anomaly, timeline) });
    }
    for (const incident of incidents) {
      const { tenant } = incident;
      this.#stream.publish({ name: 'incident', tenant, row: incidentRow(incident, timeline) });
    }
    this.#alerts.wake();
  }

  /** A store that is away comes back: decisions wait for it, and nobody hears of them before. */
  async #saveForSure(): Promise<void> {
    for (let pause = RETRY_MS_MIN; ; pause = Math.min(2 * pause, RETRY_MS_MAX)) {
      try {
        await this.#save();
        return;
      } catch (error) {
        if (!(error instanceof OperatingError && error.retryable) || this.#isStopped) throw error;
        const { logger } = this.#parts;
        logger.warn({ code: error.code, err: error }, 'Decisions not stored; trying again');
        await sleep(pause);
      }
    }
  }

  async #saveFolded(): Promise<void> {
    for (const anomaly of this.timeline.collect()) this.#unsaved.anomalies.add(anomaly);
    await this.#save();
  }

  /** One after another, so that an older value never replaces a newer one. */
  #save(): Promise<void> {
    const turn = this.#saving.catch(() => {}).then(() => this.#saveOnce()); // each caller hears of its own failure
    this.#saving = turn;
    return turn;
  }

  async #saveOnce(): Promise<void> {
    const writing = this.#unsaved;
    this.#unsaved = { anomalies: new Set(), notices: new Map(), forgotten: new Set() };
    try {
      await save(this.#parts.store, writing);
    } catch (error) {
      const { anomalies, notices, forgotten } = this.#unsaved;
      for (const anomaly of writing.anomalies) anomalies.add(anomaly);
      for (const [id, notice] of writing.notices) if (!notices.has(id)) notices.set(id, notice);
      for (const id of writing.forgotten) forgotten.add(id);
      throw error;
    }
  }

  /** Of the whole process for its operator, of what is its own for a tenant. */
  async #status(tenant: string | undefined, withHash: boolean): Promise<object> {
    const { describe, log, series } = this.#parts;
    const { anomalies, notices, control, nowMs } = this.timeline;
    if (tenant !== undefined && tenant !== ONLY_TENANT) {
      return {
        tenant,
        anomalies: anomalies.ordered(tenant).length,
        ...(await series?.count(tenant)),
      };
    }
    this.#refreshNow();
    const { mode, budget } = notices.settings;
    return {
      ...describe(),
      logId: log.id,
      anomalies: anomalies.count,
      incidents: [...this.timeline.incidents()].length,
      alerts: {
        mode,
        isShadow: notices.isShadow(nowMs, anomalies.firstMs),
        budget,
        notifiedLastDay: notices.notifiedWithin(1, nowMs),
        notifiedLastWeek: notices.notifiedWithin(BUDGET_DAYS, nowMs),
      },
      control: control.counts,
      ...(await series?.status(withHash)),
    };
  }
}
