// What identifies a series, in text and in bytes. Cold paths only: on the hot path a series is its fingerprint, as raw
// bytes or as two 32-bit halves.

export interface Label {
  name: string;
  value: string;
}

/** The 64-bit fingerprint as 16 hexadecimal digits. */
export function fingerprintText(low: number, high: number): string {
  return (high >>> 0).toString(16).padStart(8, '0') + (low >>> 0).toString(16).padStart(8, '0');
}

/** Metric name and labels as PromQL writes a selector, names in byte order, for messages and pages. */
export function seriesText(labels: readonly Label[]): string {
  let metric = '';
  const matchers: string[] = [];
  for (const { name, value } of labels.toSorted(byName)) {
    if (name === '__name__') metric = value;
    else matchers.push(`${quoteName(name)}=${JSON.stringify(value)}`);
  }
  const plain = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(metric);
  if (!plain && metric !== '') matchers.unshift(JSON.stringify(metric));
  return `${plain ? metric : ''}${matchers.length > 0 || !plain ? `{${matchers.join(', ')}}` : ''}`;
}

function quoteName(name: string): string {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : JSON.stringify(name);
}

function byName(a: Label, b: Label): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
