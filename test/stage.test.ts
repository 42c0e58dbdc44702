// The loop of every stage, while partitions come and go and the log misbehaves: what is asked of the stage, and in
// which order.

import { expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import type { Logger } from '../src/http-server.js';
import type { Assignment, Batch, Log, Subscription, Topic } from '../src/log/log.js';
import type { Pace } from '../src/pace.js';
import { type Running, runStage, type Stage } from '../src/stage.js';
import { MemoryLog } from './memory-log.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const away = (what: string) => new OperatingError('log_unavailable', `Cannot ${what}`);

/** A true log whose partitions are shared out by the test. */
class SharedLog extends MemoryLog {
  assignment: Assignment = { onAssigned() {}, onLost() {} };
  group: string | undefined;
  /** Called before each read; what it throws or returns stands for the read. */
  onRead: (partition: number, from: number) => Promise<Batch | undefined> = async () => undefined;
  isClosed = false;

  override async subscribe(
    topic: Topic,
    assignment: Assignment,
    group?: string,
  ): Promise<Subscription> {
    this.assignment = assignment;
    this.group = group;
    const subscription = await super.subscribe(topic, { onAssigned() {}, onLost() {} });
    return {
      commit: (partition, next) => subscription.commit(partition, next),
      read: async (partition, from, bytesMax, signal) =>
        (await this.onRead(partition, from)) ??
        subscription.read(partition, from, bytesMax, signal),
      close: async () => {
        this.isClosed = true;
        await subscription.close();
      },
    };
  }
}

/** A stage that writes down what it is asked for. */
class NotedStage implements Stage {
  readonly topic = 'samples';
  readonly group = 'readers';
  readonly notes: string[] = [];
  readonly slept: number[] = [];
  readonly pace: Pace = {
    turn: () => new Promise((turn) => setImmediate(turn)),
    sleep: async (ms) => {
      this.slept.push(ms);
      await turns(1);
    },
    every: () => () => {},
  };
  restoring: (partition: number) => Promise<number> = async () => 0;
  applying: (partition: number, text: string, offset: number) => void = () => {};
  settling: () => Promise<void> = async () => {};
  resuming: () => Promise<number | undefined> = async () => undefined;
  leaving: () => void = () => {};

  restore(partition: number): Promise<number> {
    this.notes.push(`restore ${partition}`);
    return this.restoring(partition);
  }

  apply(partition: number, record: Uint8Array, offset: number): void {
    const text = Buffer.from(record).toString();
    this.applying(partition, text, offset);
    this.notes.push(`apply ${partition} ${text}`);
  }

  resume(partition: number, from: number): Promise<number | undefined> {
    this.notes.push(`resume ${partition} ${from}`);
    return this.resuming();
  }

  onGap(partition: number, records: number): void {
    this.notes.push(`gap ${partition} ${records}`);
  }

  onTruncated(partition: number, from: number): void {
    this.notes.push(`truncated ${partition} ${from}`);
  }

  async settle(partition: number, next: number): Promise<void> {
    await this.settling();
    this.notes.push(`settle ${partition} ${next}`);
  }

  drop(partition: number): void {
    this.notes.push(`drop ${partition}`);
  }

  onShared(partitions: readonly number[]): void {
    this.notes.push(`shared ${partitions.join(' ')}`);
  }

  async leave(): Promise<void> {
    this.leaving();
    this.notes.push('leave');
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((turn) => setImmediate(turn));
}

async function open(
  texts: readonly string[],
  stage = new NotedStage(),
): Promise<{ log: SharedLog; stage: NotedStage; running: Running }> {
  const log = new SharedLog(2);
  for (const text of texts) await log.append('samples', 0, Buffer.from(text), 1);
  const running = await runStage(log as Log, stage, quiet);
  return { log, stage, running };
}

/** Lets everything that can happen happen. */
const settled = () => turns(60);

test('what is assigned is restored, read, settled in batches, and spoken of', async () => {
  const { log, stage, running } = await open(['a', 'b']);
  expect([log.group, running.isShared(), running.owned()]).toEqual(['readers', false, []]);
  log.assignment.onAssigned(0);
  log.assignment.onShared?.();
  await settled();
  expect(stage.notes).toEqual(['shared 0', 'restore 0', 'apply 0 a', 'apply 0 b', 'settle 0 2']);
  expect([running.isShared(), running.owned(), running.position(0)]).toEqual([true, [0], 2]);
  expect([await running.lag(0), running.hasCaughtUp(0)]).toEqual([0, true]);
  expect([await running.lag(1), running.hasCaughtUp(1)]).toEqual([undefined, false]);
  await running.stop();
});

test('a share of nothing is heard too', async () => {
  const { log, stage, running } = await open([]);
  log.assignment.onShared?.();
  expect([running.isShared(), running.owned(), stage.notes]).toEqual([true, [], ['shared ']]);
  await running.stop();
});

test('scenario 17: a partition that is lost while it is restored is dropped, and nothing of it is read', async () => {
  const { log, stage, running } = await open(['a']);
  let restored: (from: number) => void = () => {};
  stage.restoring = () =>
    new Promise((resolve) => {
      restored = resolve;
    });
  log.assignment.onAssigned(0);
  await settled();
  log.assignment.onLost(0);
  expect([running.owned(), running.position(0)]).toEqual([[], undefined]);
  restored(0);
  await settled();
  expect(stage.notes).toEqual(['restore 0', 'drop 0']);
  await running.stop();
});

test('scenario 18: lost and assigned again and again, the next one begins when the last is dropped', async () => {
  const { log, stage, running } = await open(['a']);
  const restored: ((from: number) => void)[] = [];
  stage.restoring = () => new Promise((resolve) => restored.push(resolve));
  for (let i = 0; i < 3; i++) {
    log.assignment.onAssigned(0);
    await settled();
    log.assignment.onLost(0);
  }
  log.assignment.onAssigned(0);
  await settled();
  expect(stage.notes).toEqual(['restore 0']);
  restored[0]?.(0);
  await settled();
  // Those in between were over before they began.
  expect(stage.notes).toEqual(['restore 0', 'drop 0', 'restore 0']);
  restored[1]?.(0);
  await settled();
  expect(stage.notes.slice(3)).toEqual(['apply 0 a', 'settle 0 1']);
  await running.stop();
});

test('assigned again without a word of the loss, the old loop ends first', async () => {
  const { log, stage, running } = await open(['a']);
  log.assignment.onAssigned(0);
  await settled();
  log.assignment.onAssigned(0);
  await settled();
  const once = ['restore 0', 'apply 0 a', 'settle 0 1'];
  expect(stage.notes).toEqual([...once, 'drop 0', ...once]);
  await running.stop();
});

test('a lost partition ends after the record in work, and settles nothing', async () => {
  const { log, stage, running } = await open(['a', 'b', 'c']);
  stage.applying = (_partition, text) => {
    if (text === 'b') log.assignment.onLost(0);
  };
  log.assignment.onAssigned(0);
  await settled();
  expect(stage.notes).toEqual(['restore 0', 'apply 0 a', 'apply 0 b', 'drop 0']);
  await running.stop();
});

test('a read refused because the partition is lost ends its loop quietly', async () => {
  const { log, stage, running } = await open(['a']);
  log.onRead = async () => {
    throw new OperatingError('partition_lost', "It is another's");
  };
  log.assignment.onAssigned(0);
  await settled();
  expect([stage.notes, running.owned()]).toEqual([['restore 0', 'drop 0'], []]);
  log.onRead = async () => undefined;
  log.assignment.onAssigned(0);
  await settled();
  expect(stage.notes.slice(2)).toEqual(['restore 0', 'apply 0 a', 'settle 0 1']);
  await running.stop();
});

test('a log or a store that is away is waited for with growing pauses, wherever that is', async () => {
  const { log, stage, running } = await open(['a']);
  let troubles = 0;
  const fail = (times: number, what: string) => async () => {
    if (troubles++ % (times + 1) < times) throw away(what);
  };
  const [restoring, reading] = [fail(3, 'restore'), fail(3, 'read')];
  stage.restoring = async () => {
    await restoring();
    return 0;
  };
  log.onRead = async () => {
    await reading();
    return undefined;
  };
  stage.settling = fail(3, 'settle');
  log.assignment.onAssigned(0);
  await settled();
  expect(stage.notes.at(-1)).toBe('settle 0 1');
  expect(stage.slept.slice(0, 9)).toEqual([100, 200, 400, 100, 200, 400, 100, 200, 400]);
  expect(running.position(0)).toBe(1);
  await running.stop();
});

test('a stage that stops while the log is away gives up what is not settled', async () => {
  const { log, stage, running } = await open(['a']);
  stage.settling = async () => {
    throw away('settle');
  };
  log.assignment.onAssigned(0);
  await settled();
  await running.stop();
  expect([stage.notes.includes('settle 0 1'), stage.notes.at(-1)]).toEqual([false, 'leave']);
  expect(log.isClosed).toBe(true);
});

test('scenario 21: a log that ends before what was read is restored from, not believed to be read', async () => {
  const { log, stage, running } = await open(['a', 'b', 'c']);
  stage.restoring = async () => 2;
  let isTold = false;
  log.onRead = async () => {
    if (isTold) return undefined;
    isTold = true;
    stage.restoring = async () => 1;
    throw new OperatingError('log_truncated', 'The log ends at 1');
  };
  log.assignment.onAssigned(0);
  await settled();
  const goesOn = ['restore 0', 'apply 0 b', 'apply 0 c', 'settle 0 3'];
  expect(stage.notes).toEqual(['restore 0', 'truncated 0 2', ...goesOn]);
  await running.stop();
});

test('scenario 19: a gap is a loss only when nobody else has saved what is behind it', async () => {
  const texts = ['a', 'b', 'c', 'd'];
  const lost = await open(texts);
  lost.log.deleteBelow('samples', 0, 2);
  lost.log.assignment.onAssigned(0);
  await settled();
  const { notes } = lost.stage;
  expect(notes.slice(1)).toEqual(['resume 0 0', 'gap 0 2', 'apply 0 c', 'apply 0 d', 'settle 0 4']);
  await lost.running.stop();
  const saved = await open(texts);
  saved.log.deleteBelow('samples', 0, 2);
  saved.stage.resuming = async () => 3;
  saved.log.assignment.onAssigned(0);
  await settled();
  expect(saved.stage.notes.slice(1)).toEqual(['resume 0 0', 'apply 0 d', 'settle 0 4']);
  await saved.running.stop();
});

test('a stop before it is known what another has saved counts nothing as lost, and saves the state as it was', async () => {
  const { log, stage, running } = await open(['a', 'b', 'c', 'd']);
  log.deleteBelow('samples', 0, 2);
  stage.resuming = async () => {
    throw away('look');
  };
  log.assignment.onAssigned(0);
  await settled();
  await running.stop();
  expect(new Set(stage.notes)).toEqual(new Set(['restore 0', 'resume 0 0', 'leave']));
});

test('a partition of which everything was deleted has nothing to catch up with; what was lost is told with the next record', async () => {
  const { log, stage, running } = await open(['a', 'b', 'c']);
  log.deleteBelow('samples', 0, 3);
  stage.restoring = async () => 1;
  log.assignment.onAssigned(0);
  await settled();
  expect([running.hasCaughtUp(0), await running.lag(0), stage.notes]).toEqual([
    true,
    0,
    ['restore 0'],
  ]);
  await log.append('samples', 0, Buffer.from('d'), 1);
  await settled();
  expect(stage.notes.slice(1)).toEqual(['resume 0 1', 'gap 0 2', 'apply 0 d', 'settle 0 4']);
  expect([running.hasCaughtUp(0), await running.lag(0)]).toEqual([true, 0]);
  await running.stop();
});

test('scenario 35: a record that cannot be read stops its partition, and no other', async () => {
  const { log, stage, running } = await open(['a', 'b', 'poison', 'c']);
  await log.append('samples', 1, Buffer.from('d'), 1);
  stage.applying = (_partition, text) => {
    if (text === 'poison') throw new OperatingError('record_unreadable', 'Cannot read it');
  };
  for (const partition of [0, 1]) log.assignment.onAssigned(partition);
  await settled();
  expect(stage.notes.filter((note) => / 0/.test(note))).toEqual([
    ...['restore 0', 'apply 0 a', 'apply 0 b', 'settle 0 2'],
  ]);
  expect(running.standstills()).toEqual([{ partition: 0, offset: 2, reason: 'Cannot read it' }]);
  expect([running.position(0), await running.lag(0), running.position(1)]).toEqual([2, 2, 1]);
  await log.append('samples', 1, Buffer.from('e'), 1);
  await settled();
  expect(stage.notes.at(-1)).toBe('settle 1 2');
  // It stays ours until it is taken away.
  expect(running.owned()).toEqual([0, 1]);
  log.assignment.onLost(0);
  await settled();
  expect([stage.notes.at(-1), running.standstills()]).toEqual(['drop 0', []]);
  await running.stop();
});

test('any other failure ends the process', async () => {
  const { log, stage, running } = await open(['a']);
  stage.applying = () => {
    throw new RangeError('our fault');
  };
  log.assignment.onAssigned(0);
  await expect(running.failed).rejects.toThrow('our fault');
  await running.stop();
});

test('scenario 42: a stop finishes the batch in work, lets the stage save, and only then gives back', async () => {
  const { log, stage, running } = await open(['a', 'b', 'c']);
  let stopped: Promise<void> | undefined;
  stage.applying = (_partition, text) => {
    if (text === 'a') stopped = running.stop();
  };
  stage.leaving = () => {
    stage.notes.push(`closed: ${log.isClosed}, owned: ${running.owned()}`);
  };
  log.assignment.onAssigned(0);
  await settled();
  await stopped;
  expect(stage.notes).toEqual([
    ...['restore 0', 'apply 0 a', 'apply 0 b', 'apply 0 c', 'settle 0 3'],
    ...['closed: false, owned: 0', 'leave'],
  ]);
  expect(log.isClosed).toBe(true);
  log.assignment.onAssigned(1);
  await settled();
  expect(stage.notes.at(-1)).toBe('leave');
});

test('a process with many partitions is not warned of a leak', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  const log = new MemoryLog(64);
  const running = await runStage(log, new NotedStage(), quiet);
  await turns(50);
  await running.stop();
  await log.close();
  process.off('warning', note);
  expect(warnings).toEqual([]);
});
