// What people say in a simulated world: false alarms, confirmations, accepted shifts, windows without learning, and their
// undoing, of series by number and by selector; now and then something that nobody can read. And the rules that hold
// there.

import { create, toBinary } from '@bufbuild/protobuf';
import { Cause } from '../src/gen/candidate_pb.js';
import { ControlSchema, FeedbackKind } from '../src/gen/control_pb.js';
import type { NoiseRule } from '../src/scorer/noise-rules.js';
import { WORLD_BEGIN_MS, type World } from './sim-world.js';

const INTERVAL_MS = 15_000;
const { FALSE_ALARM, CONFIRMED, ACCEPT_SHIFT } = FeedbackKind;

/** Of one job two of three samples, and of the other only what is above. */
export const SIM_RULES: readonly NoiseRule[] = [
  { match: ['{job="job-0"}'], side: 'both', needed: 2, among: 3 },
  { match: ['{job="job-1"}'], side: 'above', needed: 1, among: 1 },
].map((rule) => ({
  ...{ minDeviation: 1, minRelativeDeviation: 0, threshold: 1, isIgnored: false },
  ...(rule as Pick<NoiseRule, 'match' | 'side' | 'needed' | 'among'>),
}));

/** The next word, said when the scrape of this tick is sent; `said` counts them; `fingerprint` is of some series. */
export function wordOf(
  world: World,
  { tick, said, fingerprint }: { tick: number; said: number; fingerprint: bigint },
): Uint8Array {
  const id = `w${said}`;
  const atMs = WORLD_BEGIN_MS + tick * INTERVAL_MS;
  const match = [`{job="job-${world.int(2)}"}`];
  const feedback = (kind: FeedbackKind) => {
    const deviation = 400 * (world.random() - 0.2);
    const anomaly = {
      ...{ fingerprint, cause: Cause.MAGNITUDE },
      ...{ deviation, bands: deviation / 20 },
    };
    const expiresMs = BigInt(atMs + world.int(40) * INTERVAL_MS);
    const isOfSelectors = world.chance(0.3);
    const value = { kind, anomaly, expiresMs, match: isOfSelectors ? match : [] };
    return { case: 'feedback' as const, value };
  };
  const maintenance = () => {
    const startMs = BigInt(atMs + world.int(10) * INTERVAL_MS);
    const endMs = startMs + BigInt(world.int(30) * INTERVAL_MS);
    const value = { match, noLearn: true, startMs, endMs };
    return { case: 'maintenance' as const, value };
  };
  const undo = () => ({ case: 'undo' as const, value: { id: `w${world.int(said + 1)}` } });
  const kinds = [
    () => feedback(FALSE_ALARM),
    () => feedback(CONFIRMED),
    () => feedback(ACCEPT_SHIFT),
    maintenance,
    undo,
  ];
  if (world.chance(0.1)) return Buffer.from(`no word at ${tick}`);
  return toBinary(ControlSchema, create(ControlSchema, { id, what: kinds[world.int(5)]!() }));
}
