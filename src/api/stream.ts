// Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): what has changed, as it changes, to
// readers of one tenant each. The last events are kept, so that a reader who comes back with Last-Event-ID misses
// nothing; when what it missed is gone, or was another process's, it is told to read the lists anew (`reset`). A reader
// who does not keep up is let go and counted: it knows where it was.

import { randomUUID } from 'node:crypto';
import { PassThrough } from 'node:stream';
import {
  STREAM_BYTES_MAX,
  STREAM_CLIENTS_MAX,
  STREAM_EVENTS_MAX,
  STREAM_PAUSE_MS,
} from '../limits.js';

export type EventName = 'anomaly' | 'incident';

interface Event {
  sequence: number;
  tenant: string;
  /** Written when somebody reads it, which is seldom; then as things are by then. */
  text: () => string;
}

interface Client {
  tenant: string;
  stream: PassThrough;
}

export class EventStream {
  /** Sequence numbers of another process mean nothing here. */
  readonly #epoch = randomUUID().slice(0, 8);
  readonly #kept: Event[] = [];
  readonly #clients = new Set<Client>();
  #sequence = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  droppedCount = 0;

  get clientCount(): number {
    return this.#clients.size;
  }

  get isFull(): boolean {
    return this.#isClosed || this.#clients.size >= STREAM_CLIENTS_MAX;
  }

  publish({ name, tenant, row }: { name: EventName; tenant: string; row: () => object }): void {
    const sequence = ++this.#sequence;
    const id = `${this.#epoch}-${sequence}`;
    const text = () => `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(row())}\n\n`;
    this.#kept.push({ sequence, tenant, text });
    if (this.#kept.length > STREAM_EVENTS_MAX) this.#kept.shift();
    const readers = [...this.#clients].filter((client) => client.tenant === tenant);
    if (readers.length === 0) return;
    const written = text();
    for (const client of readers) this.#write(client, written);
  }

  /** The caller has asked isFull. */
  open(tenant: string, lastEventId: string | undefined): PassThrough {
    const stream = new PassThrough({ highWaterMark: STREAM_BYTES_MAX });
    const client = { tenant, stream };
    const leave = () => this.#clients.delete(client);
    stream.once('close', leave);
    stream.once('error', leave); // the reader went away; nobody is left to tell
    this.#clients.add(client);
    this.#timer ??= this.#startTimer();
    this.#write(client, `retry: 2000\n${this.#resume(tenant, lastEventId)}\n`);
    return stream;
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const { stream } of this.#clients) stream.end();
    this.#clients.clear();
  }

  #resume(tenant: string, lastEventId: string | undefined): string {
    const at = `id: ${this.#epoch}-${this.#sequence}\n`;
    if (lastEventId === undefined) return `${at}event: hello\ndata: {}\n`;
    const [epoch, text = ''] = lastEventId.split('-', 2);
    const sequence = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    const oldest = this.#kept[0]?.sequence ?? this.#sequence + 1;
    const isKnown = epoch === this.#epoch && sequence >= oldest - 1 && sequence <= this.#sequence;
    if (!isKnown) return `${at}event: reset\ndata: {}\n`;
    const missed = this.#kept.filter(
      (event) => event.tenant === tenant && event.sequence > sequence,
    );
    return `${at}event: hello\ndata: {}\n\n${missed.map((event) => event.text()).join('')}`;
  }

  #write(client: Client, text: string): void {
    const { stream } = client;
    if (stream.writableLength + stream.readableLength + text.length > 2 * STREAM_BYTES_MAX) {
      this.droppedCount++;
      this.#clients.delete(client);
      stream.destroy();
      return;
    }
    stream.write(text);
  }

  /** Proxies close what is silent, and a reader that is gone is noticed by writing to it. */
  #startTimer(): NodeJS.Timeout {
    const timer = setInterval(() => {
      for (const client of this.#clients) this.#write(client, ': still here\n\n');
    }, STREAM_PAUSE_MS);
    timer.unref();
    return timer;
  }
}
