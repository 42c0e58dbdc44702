// The api role: reads candidates and what people have told, keeps the timeline of both current and stored, and serves it.
//
//   candidates ─▶ timeline ─settle─▶ store: anomalies, then the position      (nothing read is lost, nothing counts twice)
//   verdicts   ─▶     │
//   control    ─▶     │
//                  refresh, at most every REFRESH_MS ─▶ store: decisions ─▶ event stream, Alertmanagers
//
// Decisions are stored before anybody hears of them, so that after a crash nobody is told twice. Several apis on one store
// share the work (sharing.ts).

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { CandidateSchema } from '../gen/candidate_pb.js';
import { type Control, ControlSchema } from '../gen/control_pb.js';
import type { HttpServer, Logger } from '../http-server.js';
import { BUDGET_DAYS, REFRESH_MS } from '../limits.js';
import type { Log } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import { type Running, runStage, type Stage } from '../stage.js';
import type { StateStore } from '../state/state-store.js';
import { ONLY_TENANT } from '../tenant.js';
import { AlertSender } from './alertmanager.js';
import { endedAlerts, firingAlerts } from './alerts.js';
import type { Anomaly } from './anomalies.js';
import { AnomaliesTopic } from './anomalies-topic.js';
import {
  begunOn,
  CANDIDATE_FOLD,
  loadAnomalies,
  loadNotices,
  loadPositions,
  VERDICT_FOLD,
} from './archive.js';
import { type Positions, readOnFrom, verdictStage } from './folding.js';
import { type Keeping, type KeepingParts, OwnKeeping, untilItAnswers } from './keeping.js';
import { observeApi } from './observed.js';
import { answerError } from './query.js';
import { anomalyRoutes } from './rest-anomalies.js';
import { controlRoutes } from './rest-control.js';
import { type SeriesSource, seriesRoutes, statusRoute } from './rest-series.js';
import { anomalyRow, incidentRow } from './rows.js';
import { type SharedParts, Sharing } from './sharing.js';
import { EventStream } from './stream.js';
import { Timeline, type TimelineSettings } from './timeline.js';

export interface ApiParts {
  log: Log;
  store: StateStore;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  settings: TimelineSettings & { alertmanagers: readonly string[] };
  /** Absent in a process that scores nothing and knows of nobody who does. */
  series?: SeriesSource;
  /** Other apis have the same store; `store` is theirs, too. */
  shared?: SharedParts;
  /** Anomalies are told in a topic of the log, for programs of others. */
  hasTopic?: boolean;
  /** What a status answer says of the process. */
  describe: () => object | Promise<object>;
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
  readonly #keeping: Keeping;
  /** How it stands with the other apis on the store; undefined when there are none. */
  readonly sharing: Sharing | undefined;
  #running: { candidates: Running; verdicts: Running; control: Running } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #refreshed = { atMs: Number.NEGATIVE_INFINITY, tookMs: 0 };
  #fail: (error: unknown) => void = () => {};
  readonly #failed: Promise<void>;
  #isStopped = false;
  #begun: Promise<void> = Promise.resolve();

  constructor(parts: ApiParts) {
    this.#parts = parts;
    const { settings, clock, logger, log } = parts;
    this.timeline = new Timeline(settings, clock);
    const topic = parts.hasTopic ? new AnomaliesTopic(log) : undefined;
    const announce: KeepingParts['announce'] = (anomalies, movers) =>
      this.#announce(anomalies, movers);
    const keeping = { logId: log.id, timeline: this.timeline, logger, topic, announce };
    if (parts.shared === undefined)
      this.#keeping = new OwnKeeping({ ...keeping, store: parts.store });
    else {
      this.sharing = new Sharing({
        ...{ ...keeping, ...parts.shared },
        isCurrent: () => this.unready() === undefined,
        refresh: () => this.#refresh(),
      });
      this.#keeping = this.sharing;
    }
    this.#alerts = new AlertSender({
      urls: settings.alertmanagers,
      firing: () => firingAlerts(this.timeline).filter(({ key }) => this.#keeping.isStored(key)),
      ended: (sinceMs) => endedAlerts(this.timeline, sinceMs),
      clock,
      logger,
      ...(this.sharing !== undefined && { permit: () => this.sharing?.permit() }),
    });
    this.#failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => {}); // whoever awaits `failed` hears of it
    observeApi(parts.metrics, {
      timeline: this.timeline,
      stream: this.#stream,
      alerts: this.#alerts,
      ...(topic !== undefined && { topic }),
    });
  }

  /** A store that others have, too, may be away: it is waited for, and `unready` says so. */
  async start(): Promise<void> {
    const begun = this.#begin();
    if (this.sharing === undefined) return begun;
    this.#begun = begun.catch((error) => this.#fail(error));
  }

  async #begin(): Promise<void> {
    const { log, logger } = this.#parts;
    const parts = { logger, isOver: () => this.#isStopped };
    const { positions, judged } = await untilItAnswers(
      'read what is stored',
      () => this.#load(),
      parts,
    );
    this.timeline.settle();
    this.#keeping.start((error) => this.#fail(error));
    this.#keeping.follow(this.timeline.refresh());
    const control = await runStage(log, this.#controlStage(), logger);
    const candidates = await runStage(log, this.#candidateStage(positions), logger);
    const verdicts = await runStage(log, this.#verdictStage(judged), logger);
    this.#running = { candidates, verdicts, control };
    for (const { failed } of [candidates, verdicts, control])
      failed.catch((error) => this.#fail(error));
    this.#alerts.start();
  }

  async #load(): Promise<{ positions: Positions; judged: Positions }> {
    const { store, log, clock } = this.#parts;
    const { anomalies, notices } = this.timeline;
    notices.begunMs = await begunOn(store, clock());
    await loadAnomalies(store, (anomaly) => anomalies.restore(anomaly));
    await loadNotices(store, (notice) => notices.restore(notice));
    const positions = await loadPositions(store, CANDIDATE_FOLD, log.partitions);
    for (const { firstMs, newestMs } of positions.values()) {
      if (firstMs !== undefined) anomalies.firstMs = Math.min(anomalies.firstMs, Number(firstMs));
      if (newestMs !== undefined) {
        anomalies.newestMs = Math.max(anomalies.newestMs, Number(newestMs));
      }
    }
    return { positions, judged: await loadPositions(store, VERDICT_FOLD, log.partitions) };
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
    await this.#begun;
    await this.#running?.candidates.stop();
    await this.#running?.verdicts.stop();
    await this.#running?.control.stop();
    await this.#alerts.stop();
    this.#refresh();
    await this.#keeping.stop();
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
    const { log, metrics } = this.#parts;
    return {
      topic: 'candidates',
      restore: (partition) => readOnFrom(log, 'candidates', { partition, positions }),
      apply: (_partition, record) => this.timeline.apply(fromBinary(CandidateSchema, record)),
      onGap: (partition, records) => {
        metrics.gapRecords.inc({ topic: 'candidates', partition: String(partition) }, records);
      },
      settle: async (partition, next) => {
        await this.#keeping.folded(`${CANDIDATE_FOLD}${partition}`, next, this.timeline.collect());
        this.#schedule();
      },
    };
  }

  #verdictStage(positions: Positions): Stage {
    const { log, metrics, logger } = this.#parts;
    const { timeline } = this;
    return verdictStage({
      ...{ log, metrics, logger, timeline, positions },
      keep: async (key, next) => {
        await this.#keeping.folded(key, next, timeline.collect());
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
   * nothing is in force here, and the caller is told to try again with the same id: then the copies that are there already
   * change nothing.
   */
  async #tell(record: Control): Promise<void> {
    const { log } = this.#parts;
    const bytes = toBinary(ControlSchema, record);
    const partitions = Array.from({ length: log.partitions }, (_, partition) => partition);
    const others = partitions.filter((partition) => partition !== CONTROL_PARTITION);
    const copies = others.map((partition) => log.append('control', partition, bytes, 0));
    for (const copy of await Promise.allSettled(copies)) {
      if (copy.status === 'rejected') throw copy.reason;
    }
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
    this.#keeping.follow(this.timeline.refresh());
    const atMs = performance.now();
    this.#refreshed = { atMs, tookMs: atMs - begin };
    // What waits for a verdict is decided without it when that takes too long.
    if (this.timeline.isWaiting) this.#schedule();
  }

  #announce(anomalies: Iterable<Anomaly>, firstMovers: Iterable<string>): void {
    const { timeline } = this;
    for (const anomaly of anomalies) {
      const { tenant } = anomaly;
      this.#stream.publish({ name: 'anomaly', tenant, row: () => anomalyRow(anomaly, timeline) });
    }
    for (const id of firstMovers) {
      const tenant = timeline.anomalies.find(id)?.tenant;
      const incident = tenant === undefined ? undefined : timeline.incidentOf(id, tenant);
      if (incident === undefined) continue; // forgotten meanwhile
      const row = () => incidentRow(incident, timeline);
      this.#stream.publish({ name: 'incident', tenant: incident.tenant, row });
    }
    this.#alerts.wake();
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
      ...(await describe()),
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
      ...(this.sharing !== undefined && { sharing: this.sharing.note() }),
      ...(await series?.status(withHash)),
    };
  }
}
