// The one clock of the page: how long ago something was is said anew every second, by one timer for all of it.

import { signal } from '@preact/signals';

export const nowMs = signal(Date.now());

setInterval(() => {
  if (!document.hidden) nowMs.value = Date.now();
}, 1_000);
