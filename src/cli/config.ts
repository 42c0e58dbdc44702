// `treeline config check|print|schema`, and where every command finds its settings: flags, environment, file. What is
// printed may be pasted into a ticket: secrets lie in files of their own, and a password inside an address is hidden.

import { readFileSync } from 'node:fs';
import { stringify } from 'yaml';
import {
  loadSettings,
  RELOADABLE,
  readSettings,
  Schema,
  SETTINGS,
  type SettingSources,
  settingAt,
} from '../config.js';
import { OperatingError } from '../errors.js';
import { withoutSecrets } from '../secret-file.js';

export type Options = Record<string, string | boolean>;

/** Reads the file anew on each call, so that a reload sees what has changed. */
export function sourcesOf(options: Options): SettingSources {
  const flags: Record<string, string> = {};
  for (const { flag } of SETTINGS) {
    const value = options[flag.replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase())];
    if (typeof value === 'string') flags[flag] = value;
  }
  const { config } = options;
  return {
    flags,
    environment: process.env,
    ...(typeof config === 'string' && { file: { name: config, text: readConfig(config) } }),
  };
}

/** The file alone: what the environment sets here need not be set where the file will be used. */
export function checkConfig(path: string, options: { output?: string }): void {
  const isJson = options.output === 'json';
  try {
    loadSettings({ file: { name: path, text: readConfig(path) } });
  } catch (error) {
    if (!(error instanceof OperatingError && error.code === 'config_invalid')) throw error;
    const faults = error.message.split('\n');
    if (isJson) print(JSON.stringify({ valid: false, faults: faults.map(faultOf) }, null, 2));
    else process.stderr.write(`${faults.join('\n')}\n`);
    process.exitCode = 1;
    return;
  }
  print(isJson ? JSON.stringify({ valid: true, faults: [] }, null, 2) : `${path}: valid`);
}

export function printConfig(options: Options): void {
  const { settings, sources } = readSettings(sourcesOf(options));
  const rows = SETTINGS.map(({ key }) => ({
    key,
    value: withoutSecrets(settingAt(settings, key)),
    source: sources.get(key) ?? 'default',
    reload: RELOADABLE.has(key),
  }));
  if (options['output'] === 'json') {
    print(JSON.stringify({ settings: rows }, null, 2));
    return;
  }
  // Each line is YAML, so that the output is a settings file again.
  const lines = rows.map(({ key, value, source }) => ({
    text: `${key}: ${stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim()}`,
    source,
  }));
  const width = Math.min(60, Math.max(...lines.map(({ text }) => text.length)));
  print(lines.map(({ text, source }) => `${text.padEnd(width)}  # ${source}`).join('\n'));
}

export function printSchema(): void {
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Settings of Treeline',
    ...Schema,
  };
  print(JSON.stringify(schema, null, 2));
}

function readConfig(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = `Cannot read the settings in ${path}: ${code}`;
    throw new OperatingError('config_invalid', message, error);
  }
}

/** `file:3:5: what` as its parts; without a place when it has none. */
function faultOf(line: string): object {
  const [, file, row, column, message] = /^(.*?):(\d+):(\d+): (.*)$/.exec(line) ?? [];
  if (message === undefined) return { message: line };
  return { file, line: Number(row), column: Number(column), message };
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
