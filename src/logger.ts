// Log lines on standard error: one JSON object each, or the same as one readable line. Standard output is left to what
// a command was asked to print.

import { Writable } from 'node:stream';
import { pino } from 'pino';
import type { Logger } from './http-server.js';

const LEVELS: Record<number, string> = {
  20: 'DEBUG',
  30: 'INFO',
  40: 'WARN',
  50: 'ERROR',
  60: 'FATAL',
};

export function createLogger(options: { level: string; format: 'text' | 'json' }): Logger {
  const stream = options.format === 'json' ? pino.destination({ fd: 2, sync: true }) : readable();
  return pino({ level: options.level, redact: ['err.config', '*.password', '*.token'] }, stream);
}

function readable(): Writable {
  return new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      const {
        level,
        time,
        msg,
        pid: _pid,
        hostname: _host,
        err,
        ...fields
      } = JSON.parse(line) as Record<string, unknown>;
      const pairs = Object.entries(fields).map(
        ([name, value]) => `${name}=${JSON.stringify(value)}`,
      );
      const stack = (err as { stack?: string } | undefined)?.stack;
      const text = [
        new Date(time as number).toISOString(),
        LEVELS[level as number] ?? String(level),
        msg,
        ...pairs,
      ].join(' ');
      process.stderr.write(stack === undefined ? `${text}\n` : `${text}\n${stack}\n`);
      done();
    },
  });
}
