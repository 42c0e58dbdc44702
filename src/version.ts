// The version of this program, from the package.json that lies above it.

import { readFileSync } from 'node:fs';

export function version(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), 'utf8');
      return (JSON.parse(text) as { version: string }).version;
    } catch {
      // Compiled files lie one folder deeper than sources: the other path is right.
    }
  }
  throw new Error('package.json is missing beside the program');
}
