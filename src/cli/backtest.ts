// `treeline backtest`: what would have alerted, over the history of a Prometheus, before anything is installed. The same
// core as the service and as `treeline score`; it reads only. This file reads the arguments and says what came out.

import { noiseRulesOf } from '../compose-detection.js';
import { durationMs, loadSettings } from '../config.js';
import { PLOT_SERIES_MAX } from '../limits.js';
import { htmlPage, svgDocument } from '../plot/document.js';
import { openPrometheusApi } from '../prometheus-api.js';
import { authorizationOf } from '../prometheus-credential.js';
import { type RangeSummary, readRange } from '../prometheus-range.js';
import type { NoiseRule } from '../scorer/noise-rules.js';
import { withoutSecrets } from '../secret-file.js';
import { seriesText } from '../series.js';
import { zoneOption } from '../time-zone.js';
import { loadWasm } from '../wasm-files.js';
import { type BacktestReport, reportJson, reportOf, reportText } from './backtest-report.js';
import { BacktestRun, type BacktestSeries } from './backtest-run.js';
import { suggest, suggestionText } from './backtest-suggest.js';
import { sourcesOf } from './config.js';
import { DURATION, progressLine } from './history-arguments.js';
import { openOutput } from './score-output.js';
import { plotFormat } from './score-plot.js';
import { parseTime } from './score-time.js';

export interface BacktestOptions {
  prometheus: string;
  query: string;
  start: string;
  end: string;
  step: string;
  seed: string;
  timezone: string;
  tokenFile?: string;
  username?: string;
  passwordFile?: string;
  plot?: string;
  suggest?: boolean;
  config?: string;
  output?: string;
}

const FORMATS = { svg: svgDocument, html: htmlPage, htm: htmlPage };

/** `refuse` ends the call: the arguments are not understood. */
export async function backtest(
  options: BacktestOptions,
  refuse: (message: string) => never,
): Promise<void> {
  const nowMs = Date.now();
  const seed = /^\d+$/.test(options.seed) ? Number(options.seed) : Number.NaN;
  if (!(seed < 2 ** 32)) refuse(`--seed is ${options.seed}, expected 0 to ${2 ** 32 - 1}`);
  const zone = zoneOption(options.timezone, refuse);
  const { plot } = options;
  if (plot !== undefined && plotFormat(plot) === undefined) {
    refuse(`--plot ${plot} must end in .svg or .html`);
  }
  const stepMs = DURATION.test(options.step) ? durationMs(options.step) : 0;
  if (stepMs < 1) refuse(`--step is ${options.step}, expected a duration such as 1m`);
  const startMs = moment('--start', options.start, { nowMs, refuse });
  const endMs = moment('--end', options.end, { nowMs, refuse });
  if (startMs >= endMs) refuse(`--start ${options.start} is not before --end ${options.end}`);
  const { prometheus, query, output } = options;
  const api = openPrometheusApi(prometheus, authorizationOf(options));
  const bar = progressLine();
  const { module } = loadWasm('forest');
  const isPlotted = plot !== undefined;
  const isTried = options.suggest === true;
  const rules = rulesOf(options.config);
  const run = new BacktestRun(module, { seed, zone, isPlotted, onShare: bar.draw, rules, isTried });
  let read: RangeSummary;
  try {
    read = await readRange(api, { query, startMs, endMs, stepMs }, run);
  } finally {
    bar.end();
  }
  for (const warning of read.warnings) {
    process.stderr.write(`treeline: ${api.address} warns: ${String(withoutSecrets(warning))}\n`);
  }
  const results = run.results();
  const wanted = { prometheus: api.address, query, startMs, endMs, stepMs };
  const report = reportOf(wanted, { read, results, unscored: run.unscored });
  if (plot !== undefined) await draw(plot, report, results);
  const suggestion = options.suggest === true ? suggest(report, results) : undefined;
  if (output === 'json') {
    print(JSON.stringify({ ...reportJson(report), ...(suggestion && { suggestion }) }, null, 2));
  } else {
    print(reportText(report));
    if (suggestion !== undefined) print(`\n${suggestionText(suggestion)}`);
  }
}

/** What else is set there is not about history. */
function rulesOf(path: string | undefined): NoiseRule[] {
  if (path === undefined) return [];
  return noiseRulesOf(loadSettings(sourcesOf({ config: path })));
}

/** A time as files write it, `now`, or a duration before now. */
function moment(
  flag: string,
  text: string,
  { nowMs, refuse }: { nowMs: number; refuse: (message: string) => never },
): number {
  if (text === 'now') return nowMs;
  const ago = text.replace(/^-/, '');
  if (DURATION.test(ago)) return nowMs - durationMs(ago);
  const bytes = Buffer.from(text);
  const ms = parseTime(bytes, 0, bytes.length);
  if (Number.isNaN(ms)) {
    refuse(
      `${flag} is ${text}, expected ISO 8601, epoch seconds, now, or how long ago, such as 2w`,
    );
  }
  return ms;
}

/** The series with the highest scores, in the order in which they came. */
async function draw(
  path: string,
  { query, anomalies }: BacktestReport,
  results: readonly BacktestSeries[],
): Promise<void> {
  const first = new Set<string>();
  for (const { series } of anomalies) if (first.size < PLOT_SERIES_MAX) first.add(series);
  const named = results.map((series) => ({ ...series, title: seriesText(series.labels) }));
  const anomalous = named.filter(({ title }) => first.has(title));
  const calm = named.filter(({ title }) => !first.has(title));
  const shown = [...anomalous, ...calm].slice(0, PLOT_SERIES_MAX);
  const series = shown.map(({ title, reducer, events }) => ({
    title,
    columns: reducer!.columns(),
    anomalies: events.list(),
    anomalyCount: events.count,
  }));
  const title = query.replace(/\s+/g, ' ').trim();
  const hiddenCount = results.length - shown.length;
  const text = FORMATS[plotFormat(path)!]({ title, series, hiddenCount });
  const written = openOutput(path);
  await written.write(Buffer.from(text));
  await written.complete();
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
