// Passing over series that no selector can match, by the bytes of their announcements: reading one takes some microseconds,
// and of a hundred thousand series people mostly want one. What a selector demands to be equal must stand in the
// announcement as it is; what does stand there is read and tested as ever, so that nothing more is left out than has to be.

import { demandedBy } from '../matchers.js';

/** True when the series may match; `announcement` is a SeriesInfo. */
export type MayMatch = (announcement: Uint8Array) => boolean;

/** Undefined when every series has to be read. */
export function filterOf(selectors: readonly string[]): MayMatch | undefined {
  const demanded = demandedBy(selectors)?.map((values) => values.map((one) => Buffer.from(one)));
  if (demanded === undefined) return undefined;
  return (announcement) =>
    demanded.some((values) => values.every((value) => holds(announcement, value)));
}

function holds(bytes: Uint8Array, wanted: Buffer): boolean {
  // A Buffer's search takes any bytes, and making a Buffer of each announcement would cost more than the search.
  return Buffer.prototype.indexOf.call(bytes, wanted) >= 0;
}
