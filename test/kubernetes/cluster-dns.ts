// The DNS of a cluster, as much of it as the chart's pods ask for: A records of Services, that of headless ones the
// addresses of their pods (RFC 1035, section 4, and Kubernetes' own specification of DNS). Everything comes from the API
// server at each question, so that an answer is never older than the cluster. Names of other kinds are not there.
//
//   header 12 bytes: id, flags, counts of questions, answers, authorities, additional
//   question: labels by length, 0, type, class      answer: pointer to the question's name, type, class, ttl, length, address

import { createSocket } from 'node:dgram';
import { request } from 'node:https';

const HEADER_BYTES = 12;
const TYPE_A = 1;
const FLAGS_ANSWER = 0x8580;
const NAME_ERROR = 3;
const TTL_SECONDS = 1;
const ASK_MS_MAX = 5_000;

export interface ClusterApi {
  server: string;
  ca: Buffer;
  token: string;
}

export interface ClusterDns {
  stop(): Promise<void>;
}

export async function startDns(address: string, api: ClusterApi): Promise<ClusterDns> {
  const socket = createSocket('udp4');
  socket.on('message', (question, from) => {
    const name = nameIn(question);
    serviceAddresses(name, api)
      .then((addresses) => socket.send(answered(question, addresses), from.port, from.address))
      // The API server is away; who asked will ask again.
      .catch(() => undefined);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(53, address, resolve);
  });
  return { stop: () => new Promise((resolve) => socket.close(() => resolve())) };
}

/** Undefined: there is no such name. */
export async function serviceAddresses(
  name: string,
  api: ClusterApi,
): Promise<string[] | undefined> {
  const [, service, namespace] =
    /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local$/.exec(name) ?? [];
  if (service === undefined) return undefined;
  const at = `/api/v1/namespaces/${namespace}`;
  const found = await get<{ spec: { clusterIP: string; publishNotReadyAddresses?: boolean } }>(
    `${at}/services/${service}`,
    api,
  );
  if (found === undefined) return undefined;
  const { clusterIP, publishNotReadyAddresses } = found.spec;
  if (clusterIP !== 'None') return [clusterIP];
  type Addresses = { ip: string }[] | undefined;
  const endpoints = await get<{
    subsets?: { addresses: Addresses; notReadyAddresses: Addresses }[];
  }>(`${at}/endpoints/${service}`, api);
  return (endpoints?.subsets ?? []).flatMap(({ addresses = [], notReadyAddresses = [] }) =>
    [...addresses, ...(publishNotReadyAddresses === true ? notReadyAddresses : [])].map(
      ({ ip }) => ip,
    ),
  );
}

function get<T>(path: string, { server, ca, token }: ClusterApi): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const asked = request(`${server}${path}`, { ca, headers, timeout: ASK_MS_MAX }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode === 404) resolve(undefined);
        else if (answer.statusCode !== 200) reject(new Error(`${path}: ${answer.statusCode}`));
        else resolve(JSON.parse(Buffer.concat(parts).toString()) as T);
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`${path} takes too long`)));
    asked.on('error', reject);
    asked.end();
  });
}

export function nameIn(question: Buffer): string {
  const labels: string[] = [];
  for (let at = HEADER_BYTES; ; ) {
    const length = question[at] ?? 0;
    if (length === 0) return labels.join('.').toLowerCase();
    labels.push(question.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
}

export function answered(question: Buffer, addresses: readonly string[] | undefined): Buffer {
  const nameEnd = question.indexOf(0, HEADER_BYTES) + 1;
  const asked = question.subarray(HEADER_BYTES, nameEnd + 4);
  const found = question.readUInt16BE(nameEnd) === TYPE_A ? (addresses ?? []) : [];
  const header = Buffer.alloc(HEADER_BYTES);
  question.copy(header, 0, 0, 2);
  header.writeUInt16BE(FLAGS_ANSWER | (addresses === undefined ? NAME_ERROR : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(found.length, 6);
  const records = found.map((address) => {
    const record = Buffer.alloc(16);
    record.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
    record.writeUInt16BE(TYPE_A, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(TTL_SECONDS, 6);
    record.writeUInt16BE(4, 10);
    Buffer.from(address.split('.').map(Number)).copy(record, 12);
    return record;
  });
  return Buffer.concat([header, asked, ...records]);
}
