// Sends incidents to Alertmanagers (API v2, https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml). An
// Alertmanager forgets what it does not hear of again, so what fires is sent every minute and is good for four; what has
// ended is sent until the receiver has taken it. Each receiver stands for itself: one that is away, slow or refuses
// costs the others nothing, and nothing waits for it. Alerts keep their labels, so after a restart they are the same ones.

import type { Logger } from '../http-server.js';
import {
  ALERT_ANSWER_MS_MAX,
  ALERT_ENDED_MS,
  ALERT_GOOD_MS,
  ALERT_RESEND_MS,
  ALERTS_PER_REQUEST,
  ALERTS_RESOLVED_MAX,
} from '../limits.js';

/** How often the receivers are looked after; a change is sent at once. */
const TICK_MS = 5_000;

export interface Alert {
  /** Stable: the same incident has the same key for good. */
  key: string;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  startsMs: number;
}

export interface EndedAlert {
  alert: Alert;
  endsMs: number;
}

export type SendOutcome = 'accepted' | 'refused' | 'failed' | 'dropped';

interface Receiver {
  url: URL;
  /** Key → when it was last taken. */
  sent: Map<string, number>;
  /** Ended, and not yet taken; since when it is tried. */
  resolved: Map<string, EndedAlert & { sinceMs: number }>;
  sending: Promise<void> | undefined;
  isAway: boolean;
}

export interface AlertSenderParts {
  urls: readonly string[];
  /** What fires now. */
  firing: () => readonly Alert[];
  /** What fired, and has ended since. */
  ended: (sinceMs: number) => readonly EndedAlert[];
  clock: () => number;
  logger: Logger;
  /** Aborted when this process may send no more; undefined while it may not. Without it, it always may. */
  permit?: () => AbortSignal | undefined;
}

const FOR_GOOD = new AbortController().signal;

export class AlertSender {
  readonly counts: Record<SendOutcome, number> = { accepted: 0, refused: 0, failed: 0, dropped: 0 };
  readonly #parts: AlertSenderParts;
  readonly #receivers: readonly Receiver[];
  readonly #stopping = new AbortController();
  /** What fired when it was last looked at; undefined until then, and while another process sends. */
  #known: Map<string, Alert> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: AlertSenderParts) {
    this.#parts = parts;
    this.#receivers = parts.urls.map((url) => ({
      url: new URL(`${url.replace(/\/+$/, '')}/api/v2/alerts`),
      sent: new Map(),
      resolved: new Map(),
      sending: undefined,
      isAway: false,
    }));
  }

  start(): void {
    if (this.#receivers.length === 0) return;
    this.#timer = setInterval(() => this.wake(), TICK_MS);
    this.#timer.unref();
    this.wake();
  }

  /** Something may have changed. */
  wake(): void {
    if (this.#receivers.length === 0 || this.#stopping.signal.aborted) return;
    if (this.#permit() === undefined) {
      this.#forget();
      return;
    }
    const firing = new Map(this.#parts.firing().map((alert) => [alert.key, alert]));
    const endsMs = this.#parts.clock();
    if (this.#known === undefined) this.#takeOver(endsMs);
    for (const receiver of this.#receivers) {
      for (const [key, alert] of this.#known ?? []) {
        // Of what it never took, it need not hear the end.
        if (!firing.has(key) && receiver.sent.delete(key)) {
          this.#resolve(receiver, { alert, endsMs });
        }
      }
      for (const key of firing.keys()) receiver.resolved.delete(key);
    }
    this.#known = firing;
    for (const receiver of this.#receivers) {
      receiver.sending ??= this.#send(receiver).finally(() => {
        receiver.sending = undefined;
      });
    }
  }

  /** What is under way is given up: a receiver hears of it from the next process. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await Promise.all(this.#receivers.map(({ sending }) => sending));
  }

  #permit(): AbortSignal | undefined {
    const { permit } = this.#parts;
    return permit === undefined ? FOR_GOOD : permit();
  }

  /** Another process sends now, and knows best what it has sent. */
  #forget(): void {
    this.#known = undefined;
    for (const { sent, resolved } of this.#receivers) {
      sent.clear();
      resolved.clear();
    }
  }

  /** The one before us may have stopped before it could tell of an end. To be told of it twice changes nothing. */
  #takeOver(nowMs: number): void {
    for (const ended of this.#parts.ended(nowMs - ALERT_ENDED_MS)) {
      for (const receiver of this.#receivers) this.#resolve(receiver, ended);
    }
  }

  #resolve(receiver: Receiver, ended: EndedAlert): void {
    receiver.resolved.set(ended.alert.key, { ...ended, sinceMs: this.#parts.clock() });
    if (receiver.resolved.size <= ALERTS_RESOLVED_MAX) return;
    const [oldest] = receiver.resolved.keys();
    receiver.resolved.delete(oldest as string);
    this.counts.dropped++;
  }

  /** Never rejects. */
  async #send(receiver: Receiver): Promise<void> {
    for (;;) {
      const permit = this.#permit();
      if (permit === undefined) return;
      const now = this.#parts.clock();
      for (const [key, { sinceMs }] of receiver.resolved) {
        // By itself the receiver lets an alert end after this time.
        if (now - sinceMs <= ALERT_GOOD_MS) continue;
        receiver.resolved.delete(key);
        this.counts.dropped++;
      }
      const due = [...(this.#known?.values() ?? [])].filter(
        ({ key }) => now - (receiver.sent.get(key) ?? Number.NEGATIVE_INFINITY) >= ALERT_RESEND_MS,
      );
      const batch = [
        ...[...receiver.resolved.values()].map(({ alert, endsMs }) => ({ alert, endsMs })),
        ...due.map((alert) => ({ alert, endsMs: undefined })),
      ].slice(0, ALERTS_PER_REQUEST);
      if (batch.length === 0) return;
      const outcome = await this.#post(receiver, batch, { now, permit });
      this.counts[outcome] += batch.length;
      if (outcome === 'failed') return;
      for (const { alert, endsMs } of batch) {
        // What was refused is not sent again before its time: it would be refused again.
        if (endsMs !== undefined) receiver.resolved.delete(alert.key);
        else if (this.#known?.has(alert.key)) receiver.sent.set(alert.key, now);
        // It ended while this was on its way.
        else if (this.#known !== undefined) {
          this.#resolve(receiver, { alert, endsMs: this.#parts.clock() });
        }
      }
    }
  }

  async #post(
    receiver: Receiver,
    batch: readonly { alert: Alert; endsMs: number | undefined }[],
    { now, permit }: { now: number; permit: AbortSignal },
  ): Promise<SendOutcome> {
    const body = batch.map(({ alert, endsMs }) => ({
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: new Date(alert.startsMs).toISOString(),
      endsAt: new Date(endsMs ?? now + ALERT_GOOD_MS).toISOString(),
    }));
    let problem: string;
    try {
      const answer = await fetch(receiver.url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.any([
          permit,
          this.#stopping.signal,
          AbortSignal.timeout(ALERT_ANSWER_MS_MAX),
        ]),
      });
      await answer.body?.cancel();
      if (answer.ok) {
        if (receiver.isAway) this.#parts.logger.info(where(receiver), 'Alertmanager is back');
        receiver.isAway = false;
        return 'accepted';
      }
      problem = `answered ${answer.status}`;
      if (answer.status < 500 && answer.status !== 429) {
        this.#parts.logger.error({ ...where(receiver), problem }, 'Alertmanager refuses alerts');
        return 'refused';
      }
    } catch (error) {
      // TypeError: nobody there, or the connection broke; TimeoutError; AbortError when we stop.
      problem = String((error as Error).cause ?? error);
    }
    if (!receiver.isAway && !this.#stopping.signal.aborted) {
      this.#parts.logger.warn({ ...where(receiver), problem }, 'Cannot send alerts; trying again');
    }
    receiver.isAway = true;
    return 'failed';
  }
}

function where({ url }: Receiver): { alertmanager: string } {
  return { alertmanager: url.origin };
}
