// What goes into a model and what comes out of it, and who runs it. A runtime knows nothing of series: it takes named
// tensors and gives back the one that the manifest calls the output.

export type Dtype = 'float32' | 'int64' | 'bool';

export interface Tensor {
  name: string;
  dtype: Dtype;
  dims: number[];
  /** Row by row; bool as one byte each. */
  values: Float32Array | BigInt64Array | Uint8Array;
}

/** Where a model runs. Runs are made one after another, whoever asks. */
export interface Runtime {
  readonly kind: 'native' | 'wasm' | 'remote';
  /** Undefined when it can run or has not been asked yet; else why not, in a few words. */
  trouble(): string | undefined;
  /** Gets ready for the first run; it would do so by itself. Never rejects. */
  prepare(): Promise<void>;
  /**
   * Rejects with `inference_unavailable` when it cannot now (killed, over its deadline, resting after failures), and with
   * `model_invalid` when it never will.
   */
  run(inputs: readonly Tensor[]): Promise<Tensor>;
  /** Ends what is running; a run under way rejects. */
  close(): Promise<void>;
  /** Runs that failed, so far. */
  readonly failures: number;
}
