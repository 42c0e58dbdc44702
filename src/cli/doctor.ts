// `treeline doctor`: looks at a Prometheus before Treeline is installed (how many series, what they cost, what to paste),
// or at a data directory and its settings. Every finding is one line with its cause and what mends it; it changes nothing.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { loadSettings, type Settings, sizeBytes } from '../config.js';
import { openDataDir } from '../data-dir.js';
import { OperatingError } from '../errors.js';
import { Guard } from '../guard.js';
import { createLogger } from '../logger.js';
import { memoryAllowance, seriesCeiling } from '../memory-limit.js';
import { openPrometheus, type PrometheusClient } from '../prometheus-client.js';
import { listenAddress } from '../settings-rules.js';
import { prometheusBlocks } from './blocks.js';
import { type Options, sourcesOf } from './config.js';
import { redisFindings } from './doctor-redis.js';
import { proposedRules, type Survey, survey } from './survey.js';

export interface Finding {
  level: 'ok' | 'warning' | 'fault';
  what: string;
  fix?: string;
}

const CLOCK_SKEW_MS = 5_000;
const CHURN_SHARE = 0.5;
const LABEL_VALUES_MANY = 5_000;
const DISK_FREE_MIN = 1e9;

/** Exit 1 when there is a fault. */
export async function doctor(options: Options): Promise<void> {
  const url = options['prometheus'];
  const isJson = options['output'] === 'json';
  const settings = loadSettings(sourcesOf(options));
  const findings: Finding[] = [];
  let report: object = {};
  let text = '';
  if (options['local'] === true) findings.push(...(await localFindings(settings)));
  if (typeof url === 'string') {
    const client = openPrometheus(url);
    const found = await survey(client, { clock: Date.now });
    findings.push(...(await prometheusFindings(client, found, settings)));
    const drop = proposedRules(found);
    const blocks = prometheusBlocks(urlOf(settings), settings, {
      queue: found.queue,
      metricsUrl: urlOf(settings, settings.listenMetrics),
    });
    report = {
      prometheus: found,
      drop,
      blocks: { prometheus: blocks, treeline: rulesBlock(drop) },
    };
    text = `\n${surveyText(found)}\nFor prometheus.yml:\n\n${blocks}`;
    if (drop.length > 0) text += `\nFor treeline.yaml, if you like:\n\n${rulesBlock(drop)}`;
  }
  if (isJson) print(JSON.stringify({ findings, ...report }, null, 2));
  else print(`${findings.map(findingText).join('\n')}\n${text}`.trimEnd());
  if (findings.some(({ level }) => level === 'fault')) process.exitCode = 1;
}

async function prometheusFindings(
  client: PrometheusClient,
  found: Survey,
  settings: Settings,
): Promise<Finding[]> {
  const findings: Finding[] = [
    ok(`${found.address} answers, Prometheus ${found.version ?? 'of unknown version'}`),
  ];
  const { clockAheadMs, series, newSeriesPerHour, estimate } = found;
  if (series === 0) {
    const fix = 'is the address that of a Prometheus, and has it scraped anything?';
    findings.push(fault('It knows no series', fix));
  }
  if (clockAheadMs !== null && Math.abs(clockAheadMs) > CLOCK_SKEW_MS) {
    const way = clockAheadMs > 0 ? 'ahead of' : 'behind';
    const what = `Its clock is ${Math.abs(clockAheadMs) / 1000} s ${way} this one's`;
    findings.push(warning(what, 'let both keep time by NTP'));
  }
  if (found.targetsDown > 0) {
    const what = `${found.targetsDown} of its targets are down`;
    findings.push(warning(what, 'their series will be stale; mend or remove them'));
  }
  if (newSeriesPerHour !== null && series > 0 && newSeriesPerHour > CHURN_SHARE * series) {
    const what = `${round(newSeriesPerHour)} new series an hour beside ${series}: high churn`;
    const fix = 'a series is scored after 100 samples; strip the label that changes, or drop them';
    findings.push(warning(what, fix));
  }
  for (const { name, value } of found.topLabels) {
    if (name === '__name__' || value < LABEL_VALUES_MANY) continue;
    const what = `The label ${name} has ${value} values`;
    findings.push(
      warning(what, 'an identifier in a label makes a series of each; see ingest.drop'),
    );
  }
  const ceiling = await ceilingOf(settings);
  const scored = series - found.unscored.buckets - found.unscored.ignored;
  findings.push(
    scored > ceiling.total
      ? fault(
          `${scored} series to score, and ${ceiling.total} fit (${ceiling.boundBy})`,
          'give Treeline more memory, raise ingest.maxSeries, or drop series',
        )
      : ok(
          `${scored} series to score, ${bytes(estimate.memoryBytes)}; ${ceiling.total} would fit here`,
        ),
  );
  return [...findings, ...configFindings(await client.config(), settings)];
}

interface WrittenConfig {
  remote_write?: { url?: string; write_relabel_configs?: unknown }[];
  scrape_configs?: { job_name?: string; honor_labels?: boolean; metrics_path?: string }[];
  global?: { external_labels?: Record<string, string> };
}

/** What its prometheus.yml says of us already. */
function configFindings(yaml: string | undefined, settings: Settings): Finding[] {
  if (yaml === undefined) return [];
  const written = (parse(yaml) ?? {}) as WrittenConfig;
  const findings: Finding[] = [];
  const { port } = listenAddress(settings.listen);
  const own = (written.remote_write ?? []).filter(
    ({ url = '' }) => URL.canParse(url) && new URL(url).port === String(port),
  );
  if (own.length > 0) findings.push(ok('It has a remote_write block for this port already'));
  for (const { job_name, honor_labels, metrics_path } of written.scrape_configs ?? []) {
    if (metrics_path !== '/metrics/anomalies' || honor_labels === true) continue;
    const what = `The job ${job_name} scrapes our gauges without honor_labels`;
    findings.push(fault(what, 'set honor_labels: true, or job and instance are renamed'));
  }
  const { cluster, __replica__ } = written.global?.external_labels ?? {};
  if (cluster !== undefined && __replica__ !== undefined) {
    const what = `It is replica ${__replica__} of cluster ${cluster}: its twin sends the same series`;
    const fix = 'let one of the pair send, with ingest.stripLabels: [__replica__]';
    findings.push(warning(what, fix));
  }
  return findings;
}

async function localFindings(settings: Settings): Promise<Finding[]> {
  const ceiling = await ceilingOf(settings);
  const findings = [
    ok('The settings are valid'),
    ok(`Up to ${ceiling.total} series, bound by ${ceiling.boundBy}`),
  ];
  findings.push(...secretFindings(settings), ...(await redisFindings(settings)));
  const path = settings.dataDir;
  if (!existsSync(path)) return [...findings, ok(`${path} is made at the first start`)];
  if (!existsSync(join(path, 'treeline.json'))) {
    const what = `${path} is not a data directory of Treeline`;
    return [...findings, warning(what, 'an empty one will be used, one with other files refused')];
  }
  try {
    const dir = await openDataDir(path);
    try {
      const free = await dir.freeBytes();
      const room = free + dir.reusableBytes();
      findings.push(ok(`${path} can be opened; no other process holds it`));
      const wanted = sizeBytes(settings.log.retentionSize);
      const what = `${bytes(free)} free, ${bytes(room)} with what the file can use again`;
      if (free < DISK_FREE_MIN) findings.push(fault(what, 'make room: appends will be refused'));
      else if (room < wanted) {
        const fix = `log.retentionSize is ${settings.log.retentionSize}: lower it or make room`;
        findings.push(warning(what, fix));
      } else findings.push(ok(what));
    } finally {
      await dir.close();
    }
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    // Held by a living process is how it should be while the service runs.
    const isHeld = error.code === 'data_dir_locked';
    findings.push(isHeld ? ok(error.message) : fault(error.message, 'see docs/operations.md'));
  }
  return findings;
}

/** The files that settings name: a start would fail on them. */
function secretFindings(settings: Settings): Finding[] {
  const { auth, tls } = settings;
  if (auth.credentials.length === 0 && tls.certFile === '') return [];
  try {
    new Guard(settings, { logger: createLogger(settings.logging), clock: Date.now });
    return [ok('Token, password, certificate and key files can be used')];
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return [fault(error.message, 'see "Who may in" in docs/operations.md')];
  }
}

async function ceilingOf(settings: Settings) {
  const { limits, ingest, log } = settings;
  const allowance = await memoryAllowance();
  const { partitions } = log;
  return seriesCeiling(allowance, {
    memory: limits.memory,
    maxSeries: ingest.maxSeries,
    partitions,
    sizeBytes,
  });
}

function surveyText(found: Survey): string {
  const { estimate, intervals, newSeriesPerHour, unscored } = found;
  const rows: [string, string][] = [
    ['series', String(found.series)],
    ['of these not scored', `${unscored.buckets} histogram buckets, ${unscored.ignored} ignored`],
    ['samples', `${round(found.samplesPerSecond)} a second`],
    [
      'intervals',
      intervals.map((one) => `${one.interval} (${one.targets})`).join(', ') || 'unknown',
    ],
    ['churn', newSeriesPerHour === null ? 'unknown' : `${round(newSeriesPerHour)} new an hour`],
    ['biggest labels', found.topLabels.slice(0, 5).map(countText).join(', ') || 'unknown'],
    ['biggest metrics', found.topMetrics.slice(0, 5).map(countText).join(', ') || 'unknown'],
    ['Treeline, memory', bytes(estimate.memoryBytes)],
    ['Treeline, CPU', `${round(estimate.cores * 100)} % of a core`],
    ['Treeline, disk', `${bytes(estimate.diskBytesPerDay)} a day, bounded by log.retentionSize`],
    ['sender, network', `${bytes(estimate.sentBytesPerSecond)} a second`],
    ['sender, requests', `${round(estimate.requestsPerSecond)} a second`],
    ['sender, memory', `${bytes(estimate.senderMemoryBytes)} more at most`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(22)}${value}\n`).join('');
}

function countText({ name, value }: { name: string; value: number }): string {
  return `${name} (${value})`;
}

function rulesBlock(rules: readonly { selector: string; series: number; why: string }[]): string {
  if (rules.length === 0) return '';
  const lines = rules.map(
    ({ selector, series, why }) =>
      `    - '${selector.replaceAll("'", "''")}' # ${series} series: ${why}\n`,
  );
  return `ingest:\n  drop:\n${lines.join('')}`;
}

function urlOf({ listen, tls }: Settings, address = ''): string {
  return `${tls.certFile === '' ? 'http' : 'https'}://${address === '' ? listen : address}`;
}

function findingText({ level, what, fix }: Finding): string {
  const mark = { ok: 'ok      ', warning: 'warning ', fault: 'FAULT   ' }[level];
  return `${mark}${what}${fix === undefined ? '' : `; ${fix}`}`;
}

function ok(what: string): Finding {
  return { level: 'ok', what };
}

function warning(what: string, fix: string): Finding {
  return { level: 'warning', what, fix };
}

function fault(what: string, fix: string): Finding {
  return { level: 'fault', what, fix };
}

function bytes(count: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)));
  return `${round(count / 1000 ** power)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

function round(value: number): string {
  return String(Number(value.toPrecision(2 + Number(value >= 100))));
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
