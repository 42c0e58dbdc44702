// Why decode.wasm takes nothing of a request, in words: a class of refusal, which decides the status,
// and a sentence with the byte at which it was found. The codes are those of
// assembly/decode/failure.ts.

import {
  DECODED_BYTES_MAX,
  REQUEST_EXEMPLARS_MAX,
  REQUEST_LABEL_BYTES_MAX,
  REQUEST_METADATA_MAX,
  REQUEST_REFERENCES_MAX,
  REQUEST_SAMPLES_MAX,
  REQUEST_SERIES_MAX,
  REQUEST_SYMBOLS_MAX,
} from '../limits.js';

/** Of remote-write: `prometheus.WriteRequest` or `io.prometheus.write.v2.Request`. */
export type Version = 1 | 2;

const REFUSALS = {
  bad_snappy: 400,
  bad_protobuf: 400,
  too_large: 413,
  wrong_version: 400,
  version_2_as_1: 415,
} as const;
type Refusal = keyof typeof REFUSALS;

/** A request of which nothing is taken. */
export class BadRequest extends Error {
  readonly status: 400 | 413 | 415;
  readonly reason: Refusal;

  constructor(reason: Refusal, message: string) {
    super(message);
    this.name = 'BadRequest';
    this.status = REFUSALS[reason];
    this.reason = reason;
  }
}

/** By failure code, from 1: assembly/decode/failure.ts. */
const FAILURES: readonly (readonly [Refusal, string])[] = [
  ['bad_snappy', 'The body is empty'],
  ['bad_snappy', 'The body is in the framed snappy format, the block format is wanted'],
  ['bad_snappy', 'The body is not a snappy block: its declared length is malformed'],
  ['too_large', `The body declares more than ${DECODED_BYTES_MAX} decoded bytes`],
  ['bad_snappy', 'The body is not a snappy block: an element is cut off'],
  ['bad_snappy', 'The body is not a snappy block: it decodes to more than it declares'],
  ['bad_snappy', 'The body is not a snappy block: a copy reaches outside what is decoded'],
  ['bad_snappy', 'The body is not a snappy block: it decodes to less than it declares'],
  ['bad_protobuf', 'a field runs past the end of its message'],
  ['bad_protobuf', 'a varint is longer than 10 bytes'],
  ['bad_protobuf', 'a tag is invalid'],
  ['bad_protobuf', 'groups are nested too deep'],
  ['bad_protobuf', 'a group ends that was not begun'],
  ['too_large', `The request has more than ${REQUEST_SERIES_MAX} series`],
  ['too_large', `The request has more than ${REQUEST_SAMPLES_MAX} samples`],
  ['too_large', `The request has more than ${REQUEST_EXEMPLARS_MAX} exemplars`],
  ['too_large', `The request has more than ${REQUEST_METADATA_MAX} metadata`],
  ['too_large', `The request has more than ${REQUEST_SYMBOLS_MAX} symbols`],
  ['too_large', `The request has more than ${REQUEST_REFERENCES_MAX} references to symbols`],
  ['too_large', `The labels of the request have more than ${REQUEST_LABEL_BYTES_MAX} bytes`],
  [
    'version_2_as_1',
    'The request looks like remote-write 2.0; send it as application/x-protobuf;proto=io.prometheus.write.v2.Request',
  ],
  [
    'wrong_version',
    'The request looks like remote-write 1.0; send it as application/x-protobuf;proto=prometheus.WriteRequest',
  ],
];
const MESSAGES: Record<Version, string> = {
  1: 'WriteRequest',
  2: 'io.prometheus.write.v2.Request',
};

export function badRequest(version: Version, failure: { code: number; at: number }): BadRequest {
  const [reason, sentence] = FAILURES[failure.code - 1]!;
  if (reason === 'bad_snappy') return new BadRequest(reason, `${sentence}, at byte ${failure.at}`);
  if (reason !== 'bad_protobuf') return new BadRequest(reason, sentence);
  const what = `The request is not a ${MESSAGES[version]}: ${sentence}`;
  return new BadRequest(reason, `${what}, at decoded byte ${failure.at}`);
}
