// Chromium, as the page's tests use it: the one that is installed, driven over its own protocol. Where there is none it is
// installed when we are root or CI=true, else the error is the one command that does it: it needs some eighty shared
// libraries, so unpacking its package beside us would not do.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Browser, chromium, type Page } from 'playwright-core';
import { projectRoot } from './project-root.js';

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
];
const INSTALL_MS_MAX = 10 * 60_000;

const execute = promisify(execFile);

export async function openBrowser(): Promise<Browser> {
  const executablePath = await chromiumBinary();
  // Its sandbox wants user namespaces, which containers seldom allow; the pages are our own.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

async function chromiumBinary(): Promise<string> {
  const found = PLACES.find((path) => existsSync(path));
  if (found !== undefined) return found;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && process.env['CI'] !== 'true') {
    throw new Error('The suite needs Chromium; run "sudo apt-get install -y chromium" once');
  }
  const [first = '', ...rest] = isRoot ? ['apt-get'] : ['sudo', '-n', 'apt-get'];
  const options = {
    timeout: INSTALL_MS_MAX,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  };
  await execute(first, [...rest, '-q', 'update'], options);
  const install = ['-q', 'install', '-y', '--no-install-recommends', 'chromium'];
  await execute(first, [...rest, ...install], options);
  const installed = PLACES.find((path) => existsSync(path));
  if (installed === undefined) throw new Error('chromium was installed, and there is still none');
  return installed;
}

export interface Watched {
  page: Page;
  /** What the browser complained of: errors, and requests that went elsewhere. */
  complaints: string[];
}

/** `expected` are complaints that are meant to be. */
export async function openPage(
  browser: Browser,
  options: { width?: number; theme?: 'light' | 'dark'; expected?: RegExp } = {},
): Promise<Watched> {
  const { width = 1280, theme = 'light', expected } = options;
  const context = await browser.newContext({
    viewport: { width, height: width < 700 ? 844 : 860 },
    colorScheme: theme,
    timezoneId: 'UTC',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints: string[] = [];
  const complain = (text: string) => {
    if (expected?.test(text) !== true) complaints.push(text);
  };
  page.on('pageerror', (error) => complain(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complain(`${message.text()} ${message.location().url}`);
  });
  page.on('request', (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|data:)/.test(request.url())) complain(request.url());
  });
  return { page, complaints };
}

/** Rules of WCAG 2 A and AA that are broken seriously, as `rule: elements`. */
export async function axeFaults(page: Page): Promise<string[]> {
  const source = await readFile(join(projectRoot(), 'node_modules', 'axe-core', 'axe.min.js'));
  // Not as a script of the page: its policy would rightly refuse that.
  await page.evaluate(source.toString());
  return page.evaluate(async () => {
    interface Result {
      violations: { id: string; impact: string; nodes: { html: string }[] }[];
    }
    const { axe } = globalThis as unknown as { axe: { run: () => Promise<Result> } };
    const { violations } = await axe.run();
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
  });
}

/** Of all of the page and of its top, in the folder that TREELINE_PICTURES names; nothing without it. */
export async function keepPicture(page: Page, name: string): Promise<void> {
  const folder = process.env['TREELINE_PICTURES'];
  if (folder === undefined) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}-top.png`) });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

export interface Costs {
  /** Of JavaScript, after what nobody needs any more has been collected. */
  heapBytes: number;
  /** That the page's thread was at work. */
  busySeconds: number;
  atSeconds: number;
}

/** What the page costs from now on; each reading is of then. */
export async function costsOf(page: Page): Promise<() => Promise<Costs>> {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  return async () => {
    await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.getMetrics');
    const of = (wanted: string) => metrics.find(({ name }) => name === wanted)?.value ?? Number.NaN;
    return {
      heapBytes: of('JSHeapUsedSize'),
      busySeconds: of('TaskDuration'),
      atSeconds: of('Timestamp'),
    };
  };
}

/** Milliseconds between the frames that the browser gave the page within so many seconds, ascending. */
export function framesOf(page: Page, seconds: number): Promise<number[]> {
  return page.evaluate(async (length) => {
    const gaps: number[] = [];
    await new Promise<void>((resolve) => {
      const began = performance.now();
      let before = began;
      const frame = (now: number) => {
        if (now > before) gaps.push(now - before);
        before = now;
        if (now - began < 1000 * length) requestAnimationFrame(frame);
        else resolve();
      };
      requestAnimationFrame(frame);
    });
    return gaps.sort((a, b) => a - b);
  }, seconds);
}
