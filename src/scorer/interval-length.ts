// When an interval of a histogram holds enough. A quantile of few observations scatters more than one of many, so that
// with one interval per scrape every night would look like an anomaly. So an interval goes on, at night over some
// scrapes, until it holds about as many observations as one usually does.

import {
  HISTOGRAM_OBSERVATIONS_MIN,
  HISTOGRAM_USUAL_INTERVALS,
  HISTOGRAM_USUAL_SHARE,
  HISTOGRAM_WAIT_MS_MAX,
} from '../limits.js';
import type { StateReader, StateWriter } from './state-bytes.js';

export class IntervalLength {
  /** Observations per scrape, moving mean. */
  #usual = 0;
  #learnt = 0;
  /** Scrapes of the interval so far. */
  #scrapes = 0;

  /** A new interval begins. */
  begin(): void {
    this.#scrapes = 0;
  }

  /** One more scrape: `total` observations `elapsedMs` after the interval's begin. When it is enough, that is learnt. */
  isEnough(total: number, elapsedMs: number): boolean {
    this.#scrapes++;
    if (total < HISTOGRAM_OBSERVATIONS_MIN) return false;
    const isFew = total < HISTOGRAM_USUAL_SHARE * this.#usual;
    if (isFew && elapsedMs < HISTOGRAM_WAIT_MS_MAX) return false;
    const weight = 1 / (Math.min(this.#learnt, HISTOGRAM_USUAL_INTERVALS - 1) + 1);
    this.#usual += weight * (total / this.#scrapes - this.#usual);
    this.#learnt++;
    return true;
  }

  encode(to: StateWriter): void {
    to.f64(this.#usual);
    to.u32(this.#learnt);
    to.u32(this.#scrapes);
  }

  static decode(from: StateReader): IntervalLength {
    const length = new IntervalLength();
    length.#usual = from.f64();
    length.#learnt = from.u32();
    length.#scrapes = from.u32();
    return length;
  }
}
