// The README is run: its code blocks, in order, in a fresh copy of the project, on a free port.

import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { welcome } from '../src/cli/run.js';
import { loadSettings } from '../src/config.js';

const root = new URL('..', import.meta.url).pathname;
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const clone = mkdtempSync(join(tmpdir(), 'treeline-readme-'));
const [DEMO, START, ASK, SCORE, TEST] = blocks('sh');
let port = 0;

function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
    ([, text = '']) => text.trim(),
  );
}

interface Started {
  output: () => string;
  until: (text: string | RegExp, msMax: number) => Promise<void>;
  stop: () => Promise<void>;
}

function start(command: string): Started {
  let output = '';
  const child = spawn('bash', ['-c', command], {
    cwd: clone,
    detached: true,
    env: {
      ...process.env,
      NO_COLOR: '1',
      TREELINE_LISTEN: `127.0.0.1:${port}`,
      TREELINE_DATA_DIR: join(clone, 'data'),
    },
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  let hasExited = false;
  void exited.then(() => {
    hasExited = true;
  });
  return {
    output: () => output,
    async until(text, msMax) {
      for (const end = Date.now() + msMax; !output.match(text); await sleep(100)) {
        if (hasExited || Date.now() > end)
          throw new Error(`${command} never said ${text}:\n${output}`);
      }
    },
    async stop() {
      if (!hasExited) process.kill(-(child.pid as number), 'SIGINT');
      await exited;
    },
  };
}

beforeAll(async () => {
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
    cwd: root,
  }).toString();
  for (const file of files.split('\n').filter((path) => path !== '')) {
    mkdirSync(dirname(join(clone, file)), { recursive: true });
    cpSync(join(root, file), join(clone, file));
  }
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  port = (server.address() as { port: number }).port;
  await new Promise((resolve) => server.close(resolve));
});

afterAll(() => rmSync(clone, { recursive: true, force: true }));

test('a fresh clone shows its first anomaly by the first command', {
  timeout: 300_000,
}, async () => {
  expect(DEMO).toBe('npm ci && npm run demo');
  const demo = start(DEMO as string);
  try {
    await demo.until(/anomaly_flag\{.*db_query_duration_seconds.*\} 1/, 280_000);
    // What the demo prints is what it is worth: the commands it names show the fault.
    const shown = [...demo.output().matchAll(/^ {2}(curl .*)$/gm)].map(
      ([, command = '']) => command,
    );
    expect(shown).toHaveLength(2);
    for (const command of shown) {
      const answer = execFileSync('bash', ['-c', command]).toString();
      expect(answer).toContain('db_query_duration_seconds');
      expect(answer).toContain('database-1');
      expect(answer).not.toContain('database-2');
    }
  } finally {
    await demo.stop();
  }
});

test('started by the second command, it prints the blocks and answers the questions of the README', {
  timeout: 120_000,
}, async () => {
  expect(START).toBe('npm ci && npm start');
  // The first block has installed already.
  const running = start((START as string).replace('npm ci && ', ''));
  try {
    await running.until(/^remote_write:/m, 100_000);
    const url = `http://127.0.0.1:${port}`;
    const lines = (ASK as string).replaceAll('http://127.0.0.1:8275', url).split('\n');
    const answers = lines.map((line) => execFileSync('bash', ['-c', line]).toString());
    expect(answers[0]).toMatch(/^Ready\n/);
    expect(answers[1]).toContain('# TYPE anomaly_flag gauge');
    expect(JSON.parse(answers[2] as string)).toEqual({ anomalies: [] });
    expect(JSON.parse(answers[3] as string)).toEqual({ incidents: [] });
    expect(JSON.parse(answers[4] as string)).toEqual({ series: [] });
  } finally {
    await running.stop();
  }
});

test('scoring a file gives one row per row', () => {
  const output = execFileSync('bash', ['-c', SCORE as string], { cwd: clone }).toString();
  const lines = output.trim().split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[0]).toBe('timestamp,value,score,flag,alarm,expected,lower,upper');
  expect(lines[2]).toMatch(/^2026-01-01T00:01:00Z,2,0,0,0,/);
});

test('the block for prometheus.yml is the one that is printed, and the test command is the gate', () => {
  const [yaml = ''] = blocks('yaml');
  expect(welcome('http://127.0.0.1:8275', loadSettings({}))).toContain(yaml);
  expect(blocks('promql')).toEqual(['anomaly_flag == 1']);
  expect(TEST).toBe('npm ci && npm test');
  const gate = readFileSync(join(root, '.ci/run'), 'utf8');
  expect(gate).toContain('npm ci');
  expect(gate).toContain('npm test');
});
