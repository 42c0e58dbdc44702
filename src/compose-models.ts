// The part of the composition root that knows which roles run models. What they are made of is loaded when one is wanted.

import type { Treeline } from './compose.js';
import type { Settings } from './config.js';
import type { Logger } from './http-server.js';
import type { ForecastDesk } from './inference/forecast-desk.js';
import type { Site } from './site.js';

/** Returns where forecasts are asked for in the batches of the deep check, where this process runs one. */
export async function addModelRoles(site: Site): Promise<ForecastDesk | undefined> {
  const { roles } = site.settings;
  let desk: ForecastDesk | undefined;
  if (roles.includes('deep-check')) {
    desk = await (await import('./compose-deep-check.js')).addDeepCheck(site);
  }
  if (roles.includes('inference')) {
    await (await import('./compose-inference.js')).addInference(site);
  }
  return desk;
}

/** A process that runs the role inference alone needs neither log nor state. Undefined for every other one. */
export async function startModelAlone(
  settings: Settings,
  around: {
    logger: Logger;
    clock: () => number;
    read: () => Settings;
    undo: (() => Promise<void>)[];
  },
): Promise<Treeline | undefined> {
  if (settings.roles.join() !== 'inference') return undefined;
  return (await import('./compose-inference.js')).startInference(settings, around);
}
