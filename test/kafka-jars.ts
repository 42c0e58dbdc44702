// Brings Apache Kafka: the jars of a broker from Maven Central, into a cache folder outside the clone, each compared with
// the checksum in test/kafka/SHA256SUMS. Java and Maven are taken as installed; where one is missing it is installed when
// we are root or CI=true, else the error is the one command that does it.
//
//   <cache>/kafka/<hash of the POM>/*.jar      complete and checked, or absent
//   <cache>/kafka/.unpack-<random>/            somebody is fetching; renamed when complete

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from './project-root.js';

const POM = join(projectRoot(), 'test', 'kafka', 'pom.xml');
const SUMS = join(projectRoot(), 'test', 'kafka', 'SHA256SUMS');
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';
const JAVA_VERSION_MIN = 17;
const FETCH_MS_MAX = 10 * 60_000;
const FETCH_TRIES = 3;

const execute = promisify(execFile);

/** The folder with the jars, fetched on first use. Several processes may ask at the same time. */
export async function kafkaJars(): Promise<string> {
  await need('java', 'openjdk-17-jre-headless', hasJava);
  const cache = join(
    process.env['TREELINE_CACHE'] ?? join(homedir(), '.cache', 'treeline'),
    'kafka',
  );
  const pom = await readFile(POM);
  const sums = await readFile(SUMS, 'utf8');
  const home = join(
    cache,
    createHash('sha256').update(pom).update(sums).digest('hex').slice(0, 16),
  );
  if (existsSync(home)) return home;
  await need('mvn', 'maven', () => answers('mvn'));
  await mkdir(cache, { recursive: true });
  const beside = await mkdtemp(join(cache, '.unpack-'));
  try {
    await fetchJars(beside);
    await checkSums(beside, sums);
    await rename(beside, home).catch((error: NodeJS.ErrnoException) => {
      // Another process was quicker, and what it has is checked too.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return home;
}

async function fetchJars(into: string): Promise<void> {
  const args = ['-B', '-ntp', '-q', '-f', POM, COPY];
  const options = ['-DincludeScope=runtime', `-DoutputDirectory=${into}`];
  for (let attempt = 1; ; attempt++) {
    try {
      await execute('mvn', [...args, ...options], { timeout: FETCH_MS_MAX });
      return;
    } catch (error) {
      const { stdout } = error as { stdout?: string };
      if (attempt === FETCH_TRIES) {
        throw new Error(`Maven cannot bring the jars of Kafka:\n${stdout ?? ''}\n${error}`);
      }
    }
  }
}

async function checkSums(folder: string, sums: string): Promise<void> {
  const wanted = new Map(
    sums
      .trim()
      .split('\n')
      .map((line) => [line.slice(66), line.slice(0, 64)]),
  );
  const found = (await readdir(folder)).toSorted();
  const missing = [...wanted.keys()].filter((name) => !found.includes(name));
  const strangers = found.filter((name) => !wanted.has(name));
  if (missing.length + strangers.length > 0) {
    throw new Error(`Not the jars of ${SUMS}: missing ${missing}, unknown ${strangers}`);
  }
  for (const name of found) {
    const bytes = await readFile(join(folder, name));
    const sum = createHash('sha256').update(bytes).digest('hex');
    if (sum !== wanted.get(name))
      throw new Error(`${name} has the checksum ${sum}, not that of ${SUMS}`);
  }
}

async function need(program: string, name: string, isThere: () => Promise<boolean>): Promise<void> {
  if (await isThere()) return;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && process.env['CI'] !== 'true') {
    throw new Error(`The suite needs ${program}; run "sudo apt-get install -y ${name}" once`);
  }
  const [first = '', ...rest] = isRoot ? ['apt-get'] : ['sudo', '-n', 'apt-get'];
  const options = {
    timeout: FETCH_MS_MAX,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  };
  await execute(first, [...rest, '-q', 'update'], options);
  await execute(first, [...rest, '-q', 'install', '-y', '--no-install-recommends', name], options);
  if (!(await isThere()))
    throw new Error(`${name} was installed, and there is still no ${program}`);
}

async function hasJava(): Promise<boolean> {
  try {
    const { stderr } = await execute('java', ['-version']);
    return Number(/version "(\d+)/.exec(stderr)?.[1]) >= JAVA_VERSION_MIN;
  } catch {
    return false; // not installed
  }
}

async function answers(program: string): Promise<boolean> {
  try {
    await execute(program, ['-version']);
    return true;
  } catch {
    return false; // not installed
  }
}
