// In the demo only, which its status tells: buttons that disturb the shop, and what each should look like here.

import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { ask } from './rest.js';

interface Fault {
  name: string;
  title: string;
  look: string;
  since: string | null;
}

const faults = signal<Fault[]>([]);

async function readFaults(): Promise<void> {
  try {
    faults.value = (await ask<{ faults: Fault[] }>('/demo/faults')).faults;
  } catch {
    // Not answered: the banner says that nothing is heard.
  }
}

export function DemoBar() {
  useEffect(() => {
    void readFaults();
  }, []);
  const shown = faults.value;
  const toggle = async (fault: Fault) => {
    const body = { fault: fault.name, on: fault.since === null };
    try {
      await ask('/demo/faults', { method: 'POST', body });
    } finally {
      await readFaults();
    }
  };
  const running = shown.filter(({ since }) => since !== null);
  return (
    <aside class="demo" aria-label="Demo">
      <b>Demo</b> <span class="faint">disturb the shop:</span>
      {shown.map((fault) => (
        <button
          key={fault.name}
          type="button"
          aria-pressed={fault.since !== null}
          onClick={() => void toggle(fault).catch(() => {})}
        >
          {fault.title}
        </button>
      ))}
      {running.map(({ name, look }) => (
        <p key={name} class="faint">
          {look}
        </p>
      ))}
    </aside>
  );
}
