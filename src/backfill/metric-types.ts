// What a Prometheus knows of its metrics' types, as a request of remote-write 1.0 without samples. A live sender tells them
// within a minute; history without them would teach a counter that has an unusual name as a gauge, and all of it would be
// forgotten when the type comes.

import { create, toBinary } from '@bufbuild/protobuf';
import { compress } from 'snappy';
import { MetricMetadata_MetricType, WriteRequestSchema } from '../gen/remote_write_v1_pb.js';
import { RANGE_ANSWER_BYTES_MAX } from '../limits.js';
import { HISTORY_NAMES_MAX } from '../limits-history.js';
import type { PrometheusApi } from '../prometheus-api.js';

/** Undefined when it is not told: then names speak for themselves, as they do for samples without types. */
export async function metricTypes(api: PrometheusApi): Promise<Uint8Array | undefined> {
  const reply = await api.ask('metadata', {}, { answerBytesMax: RANGE_ANSWER_BYTES_MAX });
  if (reply.kind !== 'answer' || typeof reply.value !== 'object' || reply.value === null) return;
  const metadata = Object.entries(reply.value as Record<string, unknown>)
    .slice(0, HISTORY_NAMES_MAX)
    .flatMap(([metricFamilyName, said]) => {
      const [first] = (Array.isArray(said) ? said : []) as { type?: unknown; unit?: unknown }[];
      const name = String(first?.type ?? '').toUpperCase() as 'COUNTER';
      const type = MetricMetadata_MetricType[name];
      if (type === undefined) return [];
      return [{ metricFamilyName, type, unit: typeof first?.unit === 'string' ? first.unit : '' }];
    });
  if (metadata.length === 0) return;
  const request = create(WriteRequestSchema, { metadata });
  return new Uint8Array(await compress(Buffer.from(toBinary(WriteRequestSchema, request))));
}
