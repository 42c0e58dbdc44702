// What a scrape may wait for. A log that is away is asked for seconds before it is believed to be, which is right for
// whoever needs the answer, and too long for a metric: the others would come too late with it, just when somebody looks.

import { OperatingError } from './errors.js';
import { METRIC_MS_MAX } from './limits-outputs.js';

/** Undefined when it does not come soon, or cannot come now. */
export async function soon<T>(asked: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), METRIC_MS_MAX);
  });
  const known = asked.catch((error: unknown) => {
    if (error instanceof OperatingError && error.retryable) return undefined;
    throw error;
  });
  try {
    return await Promise.race([known, late]);
  } finally {
    clearTimeout(timer);
  }
}
