// Who of a consumer group reads which partitions. Partitions are shared out to within one, and of all ways to do so one
// that moves the fewest is taken, because a partition that moves has to be restored. Each member says what it has and
// since when; what it says is bounded and believed only as a wish.
//
//   userData  ┌─────┬──────────────┬─────────┬─────────────┬─────
//             │ 0x1 │ ms, 8 bytes  │ n, u16  │ partition 0 │ …      big-endian, n x u16
//             └─────┴──────────────┴─────────┴─────────────┴─────

import { strict as assert } from 'node:assert';
import { type KafkaAssigner, MemberAssignment, MemberMetadata } from './kafka-client.js';

/** A member and what it read until now. */
export interface Member {
  id: string;
  owned: readonly number[];
  /** When it was given these. Of two who say that they have a partition, the later one does. */
  sinceMs: number;
}

const NAME = 'treeline-sticky';
const VERSION = 1;
const HEAD_BYTES = 11;

export function kafkaAssigner(around: {
  topic: string;
  partitions: number;
  /** What this member reads now. */
  owned: () => { partitions: readonly number[]; sinceMs: number };
}): KafkaAssigner {
  const { topic, partitions, owned } = around;
  return {
    name: NAME,
    version: VERSION,
    protocol({ topics }) {
      const now = owned();
      const userData = encodeOwned(now.partitions, now.sinceMs);
      return {
        name: NAME,
        metadata: MemberMetadata.encode({ version: VERSION, topics, userData }),
      };
    },
    async assign({ members }) {
      const said = members.map(({ memberId, memberMetadata }) => {
        const metadata = MemberMetadata.decode(memberMetadata);
        return { id: memberId, ...decodeOwned(metadata?.userData ?? Buffer.alloc(0), partitions) };
      });
      return [...shareOut(partitions, said)].map(([memberId, mine]) => ({
        memberId,
        memberAssignment: MemberAssignment.encode({
          version: VERSION,
          assignment: { [topic]: mine },
          userData: Buffer.alloc(0),
        }),
      }));
    },
  };
}

export function shareOut(partitions: number, members: readonly Member[]): Map<string, number[]> {
  assert(members.length > 0);
  const kept = claims(partitions, members);
  const least = Math.floor(partitions / members.length);
  const withOneMore = partitions % members.length;
  // Who has most gets the odd ones: so no partition leaves a member for a share that it could have had.
  const order = members
    .map(({ id }) => id)
    .toSorted((a, b) => sizeOf(kept, b) - sizeOf(kept, a) || (a < b ? -1 : 1));
  const quota = new Map(order.map((id, rank) => [id, least + (rank < withOneMore ? 1 : 0)]));
  const shares = new Map<string, number[]>();
  const taken = new Set<number>();
  for (const id of order) {
    const share = (kept.get(id) ?? []).slice(0, quota.get(id));
    for (const partition of share) taken.add(partition);
    shares.set(id, share);
  }
  const free = Array.from({ length: partitions }, (_, partition) => partition).filter(
    (partition) => !taken.has(partition),
  );
  for (const [id, share] of shares) {
    while (share.length < (quota.get(id) as number)) share.push(free.shift() as number);
    share.sort((a, b) => a - b);
  }
  return shares;
}

/** Member → the partitions that it has, each partition once. */
function claims(partitions: number, members: readonly Member[]): Map<string, number[]> {
  const owners = new Map<number, Member>();
  for (const member of members) {
    for (const partition of member.owned) {
      if (partition >= partitions) continue;
      const other = owners.get(partition);
      const isLater =
        other === undefined ||
        member.sinceMs > other.sinceMs ||
        (member.sinceMs === other.sinceMs && member.id < other.id);
      if (isLater) owners.set(partition, member);
    }
  }
  const kept = new Map<string, number[]>();
  for (const partition of [...owners.keys()].toSorted((a, b) => a - b)) {
    const { id } = owners.get(partition) as Member;
    kept.set(id, [...(kept.get(id) ?? []), partition]);
  }
  return kept;
}

function sizeOf(kept: ReadonlyMap<string, number[]>, id: string): number {
  return kept.get(id)?.length ?? 0;
}

export function encodeOwned(partitions: readonly number[], sinceMs: number): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES + 2 * partitions.length);
  bytes.writeUInt8(VERSION, 0);
  bytes.writeBigUInt64BE(BigInt(sinceMs), 1);
  bytes.writeUInt16BE(partitions.length, 9);
  partitions.forEach((partition, index) => {
    bytes.writeUInt16BE(partition, HEAD_BYTES + 2 * index);
  });
  return bytes;
}

/** What cannot be read, or says more than there can be, is taken for nothing. */
export function decodeOwned(
  bytes: Buffer,
  partitionsMax: number,
): { owned: number[]; sinceMs: number } {
  const nothing = { owned: [], sinceMs: 0 };
  if (bytes.length < HEAD_BYTES || bytes.readUInt8(0) !== VERSION) return nothing;
  const count = bytes.readUInt16BE(9);
  if (count > partitionsMax || bytes.length !== HEAD_BYTES + 2 * count) return nothing;
  const owned = Array.from({ length: count }, (_, index) =>
    bytes.readUInt16BE(HEAD_BYTES + 2 * index),
  );
  return { owned, sinceMs: Number(bytes.readBigUInt64BE(1)) };
}
