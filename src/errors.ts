// Every way in which the world, not the caller and not our code, can fail us. One class, one list of codes, and for
// each code what it means for the HTTP client. Bad input is not here (it is answered 4xx where it is found) and
// programmer errors are not here (they are asserts and end the process).

interface Meaning {
  /** True when the same call may succeed later without anybody changing anything. */
  retryable: boolean;
  status: number;
}

const MEANINGS = {
  address_in_use: { retryable: false, status: 500 },
  api_unreachable: { retryable: true, status: 502 },
  checkpoint_corrupt: { retryable: false, status: 500 },
  config_invalid: { retryable: false, status: 500 },
  data_dir_locked: { retryable: false, status: 500 },
  data_dir_newer: { retryable: false, status: 500 },
  data_dir_other: { retryable: false, status: 500 },
  data_dir_unwritable: { retryable: false, status: 500 },
  disk_full: { retryable: true, status: 503 },
  inference_unavailable: { retryable: true, status: 503 },
  input_invalid: { retryable: false, status: 400 },
  lease_lost: { retryable: false, status: 503 },
  log_closed: { retryable: true, status: 503 },
  log_damaged: { retryable: false, status: 500 },
  log_denied: { retryable: false, status: 500 },
  log_other: { retryable: false, status: 500 },
  log_replaced: { retryable: false, status: 500 },
  log_truncated: { retryable: false, status: 500 },
  log_unavailable: { retryable: true, status: 503 },
  owner_unreachable: { retryable: true, status: 503 },
  model_invalid: { retryable: false, status: 500 },
  overloaded: { retryable: true, status: 503 },
  partition_lost: { retryable: true, status: 503 },
  prometheus_refused: { retryable: false, status: 502 },
  prometheus_unreachable: { retryable: true, status: 502 },
  record_unreadable: { retryable: false, status: 500 },
  state_present: { retryable: false, status: 500 },
  store_denied: { retryable: false, status: 500 },
  store_unavailable: { retryable: true, status: 503 },
} as const satisfies Record<string, Meaning>;

export type ErrorCode = keyof typeof MEANINGS;

export class OperatingError extends Error {
  readonly code: ErrorCode;

  /** `message` says what we were doing, to what, and what the reader can do about it. */
  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'OperatingError';
    this.code = code;
  }

  get retryable(): boolean {
    return MEANINGS[this.code].retryable;
  }

  get status(): number {
    return MEANINGS[this.code].status;
  }
}
