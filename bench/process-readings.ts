// What the kernel knows of a running process, from /proc: CPU time and memory. Linux only, as the
// benches are.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Memory {
  /** Everything resident, the pages of the log's file that the kernel keeps mapped among it. */
  rssMegabytes: number;
  /** Without those: what the process itself holds. */
  ownMegabytes: number;
  /** The most that was ever resident. */
  peakMegabytes: number;
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const megabytes = (field: string) =>
    (Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024) / 1e6;
  return {
    rssMegabytes: megabytes('VmRSS'),
    ownMegabytes: megabytes('RssAnon'),
    peakMegabytes: megabytes('VmHWM'),
  };
}

let ticksPerSecond = 0;

/** User and system time of all threads: fields 14 and 15 of /proc/<pid>/stat, see proc(5). */
export function cpuSecondsOf(pid: number): number {
  if (ticksPerSecond === 0) {
    ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  }
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
