// Where an axis is marked, and with what words: times in UTC at round times, values at round numbers with SI prefixes.
// Everything here is arithmetic on numbers; nothing is drawn.

export interface Tick {
  at: number;
  label: string;
  /** Under a time: the day or year that begins, or in which the axis begins. */
  context?: string;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;
const MONTH = 30.44 * DAY;
const YEAR = 365.25 * DAY;
const SHORT_STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((count) => count * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 6, 12].map((count) => count * HOUR),
  ...[DAY, 2 * DAY, WEEK, 2 * WEEK],
];
const MONTH_STEPS = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000, 12_000];
/** The first Monday of the epoch: weeks begin there. */
const MONDAY = 4 * DAY;
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
const PREFIXES: readonly [number, string][] = [
  [1e15, 'P'],
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
  [1, ''],
  [1e-3, 'm'],
  [1e-6, 'µ'],
  [1e-9, 'n'],
];
const TICKS_MAX = 100;

/** At most `countMax` round times from `startMs` to `endMs`, both within the years a Date knows. */
export function timeTicks(startMs: number, endMs: number, countMax: number): Tick[] {
  const span = endMs - startMs;
  const step = SHORT_STEPS.find((one) => span / one <= countMax);
  const ticks = step === undefined ? monthTicks(startMs, endMs, countMax) : [];
  if (step !== undefined) {
    const origin = step >= WEEK ? MONDAY : 0;
    const first = Math.ceil((startMs - origin) / step) * step + origin;
    for (let at = first; at <= endMs && ticks.length < TICKS_MAX; at += step) {
      ticks.push({ at, label: timeLabel(at, step) });
    }
  }
  const level = (step ?? MONTH) < DAY ? dayText : yearText;
  let before: string | undefined;
  for (const tick of ticks) {
    const context = level(tick.at);
    if (context !== before && (step ?? 0) !== YEAR) tick.context = context;
    before = context;
  }
  // Years say it themselves.
  return ticks.map(({ at, label, context }) =>
    context === undefined || context === label ? { at, label } : { at, label, context },
  );
}

function monthTicks(startMs: number, endMs: number, countMax: number): Tick[] {
  const months =
    MONTH_STEPS.find((count) => (endMs - startMs) / (count * MONTH) <= countMax) ??
    MONTH_STEPS.at(-1)!;
  const start = new Date(startMs);
  const first = Math.floor((12 * start.getUTCFullYear() + start.getUTCMonth()) / months) * months;
  const ticks: Tick[] = [];
  for (let month = first; ticks.length < TICKS_MAX; month += months) {
    const at = new Date(0).setUTCFullYear(Math.floor(month / 12), month % 12, 1);
    if (!(at <= endMs)) break;
    if (at < startMs) continue;
    ticks.push({ at, label: months < 12 ? MONTHS[month % 12]! : yearText(at) });
  }
  return ticks;
}

function timeLabel(ms: number, step: number): string {
  const iso = new Date(ms).toISOString();
  const clock = iso.slice(iso.indexOf('T') + 1);
  if (step >= DAY) return dayText(ms).replace(/ \S+$/, '');
  if (step >= MINUTE) return clock.slice(0, 5);
  return step >= SECOND ? clock.slice(0, 8) : clock.slice(0, 12);
}

/** 4 Jan 2026 */
export function dayText(ms: number): string {
  const date = new Date(ms);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

function yearText(ms: number): string {
  return String(new Date(ms).getUTCFullYear());
}

/** 2026-01-04 11:20:00, and milliseconds where there are any. */
export function momentText(ms: number): string {
  return new Date(ms)
    .toISOString()
    .replace('T', ' ')
    .replace(/(\.000)?Z$/, '');
}

/** 40 s, 12 min, 3 h 20 min, 2 d 4 h; one sample lasts no time. */
export function spanText(ms: number): string {
  if (ms === 0) return 'one sample';
  const units: [number, string][] = [
    [DAY, 'd'],
    [HOUR, 'h'],
    [MINUTE, 'min'],
    [SECOND, 's'],
  ];
  const at = units.findIndex(([size]) => ms >= size);
  if (at < 0) return `${Math.round(ms)} ms`;
  const [size, name] = units[at]!;
  const below = units[at + 1];
  const rest = below === undefined ? 0 : Math.round((ms % size) / below[0]);
  const whole = `${Math.floor(ms / size)} ${name}`;
  return rest > 0 && below !== undefined && ms < 10 * size ? `${whole} ${rest} ${below[1]}` : whole;
}

/** About `countMax` round numbers from `low` to `high`. */
export function valueTicks(low: number, high: number, countMax: number): Tick[] {
  const span = high - low;
  if (span === Number.POSITIVE_INFINITY) {
    return [low / 2, 0, high / 2].map((at) => ({ at, label: valueText(at) }));
  }
  // Below this, steps would no longer be normal numbers.
  if (!(span > 1e-300)) return [{ at: low, label: valueText(low) }];
  const rough = 10 ** Math.floor(Math.log10(span / countMax));
  const step = [1, 2, 5, 10]
    .map((count) => count * rough)
    .reduce((best, one) =>
      Math.abs(span / one - countMax) < Math.abs(span / best - countMax) ? one : best,
    );
  const [scale, prefix] = prefixOf(Math.max(Math.abs(low), Math.abs(high)));
  const decimals = Math.max(0, Math.min(15, -Math.floor(Math.log10(step / scale) + 1e-9)));
  const ticks: Tick[] = [];
  const first = Math.ceil(low / step);
  for (let count = 0; (first + count) * step <= high && count < TICKS_MAX; count++) {
    const at = (first + count) * step;
    ticks.push({ at, label: at === 0 ? '0' : labelOf(at / scale, decimals) + prefix });
  }
  // At the limits of a double no round number may lie between the two.
  return ticks.length > 0 ? ticks : [{ at: low, label: valueText(low) }];
}

function labelOf(number: number, decimals: number): string {
  const size = Math.abs(number);
  const text = size >= 1e6 || size < 1e-6 ? number.toExponential(2) : number.toFixed(decimals);
  return text.replace('-', '\u2212');
}

function prefixOf(size: number): [number, string] {
  // Beyond the prefixes numbers are written with an exponent.
  if ((size >= 0.01 && size < 10_000) || size === 0 || size >= 1e18 || size < 1e-12) return [1, ''];
  return PREFIXES.find(([scale]) => size >= scale) ?? [1, ''];
}

/** A value in a few characters: 4 digits, an SI prefix. */
export function valueText(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const [scale, prefix] = prefixOf(Math.abs(value));
  const shown = value / scale;
  const size = Math.abs(shown);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) {
    return shown.toExponential(2).replace(/^-/, '\u2212');
  }
  return String(Number(shown.toPrecision(4))).replace('-', '\u2212') + prefix;
}
