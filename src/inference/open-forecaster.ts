// Which forecaster it is, from what was chosen: a one-liner, or a model with the runtime that this machine has. Nothing is
// loaded here: a model is at its first use, or when it is told to prepare. A model that cannot be used is no reason not to
// start: whoever asks it hears why.

import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { type Forecaster, ModelForecaster } from './forecaster.js';
import { loadModel, type Model } from './manifest.js';
import { createOneLiner, isOneLiner } from './one-liners.js';
import { refusing } from './refusing.js';
import type { Runtime } from './tensor.js';

export interface ForecasterChoice {
  model: string;
  runtime: 'auto' | 'native' | 'wasm' | 'remote' | 'none';
  /** Address of a remote server; empty: none. */
  remote: string;
  /** What to say in the Authorization header of a request to it. */
  authorization?: (() => string) | undefined;
}

export interface Around {
  logger: Logger;
  clock: () => number;
}

export async function openForecaster(
  choice: ForecasterChoice,
  around: Around,
): Promise<Forecaster> {
  if (isOneLiner(choice.model)) return createOneLiner(choice.model);
  if (choice.runtime === 'none') return refusing(choice.model, 'deepCheck.runtime is none');
  try {
    const model = loadModel(choice.model);
    return new ModelForecaster(model, await openRuntime(model, choice, around));
  } catch (error) {
    if (!(error instanceof OperatingError && error.code === 'model_invalid')) throw error;
    const reason = error.message;
    around.logger.warn({ reason }, 'The deep check answers unchecked');
    return refusing(choice.model, reason);
  }
}

/** Throws `model_invalid` when the one that was asked for by name is not there. */
export async function openRuntime(
  model: Model,
  { runtime, remote, authorization }: Omit<ForecasterChoice, 'model'>,
  { logger, clock }: Around,
): Promise<Runtime> {
  if (runtime === 'remote' || (runtime === 'auto' && remote !== '')) {
    const { RemoteRuntime } = await import('./remote-runtime.js');
    return new RemoteRuntime({ url: remote, model: model.manifest, authorization, clock });
  }
  if (runtime !== 'wasm') {
    const { createNativeRuntime, nativeMissing } = await import('./native-runtime.js');
    const missing = nativeMissing();
    if (missing === undefined) return createNativeRuntime(model, { clock });
    if (runtime === 'native')
      throw new OperatingError('model_invalid', `There is no native runtime: ${missing}`);
    logger.info({ reason: missing }, 'The deep check runs in WebAssembly, at a third of the speed');
  }
  const { createWasmRuntime } = await import('./wasm-runtime.js');
  return createWasmRuntime(model, { clock });
}
