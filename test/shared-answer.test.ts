// One question under way at most, and every answer sought after it was asked for.

import { expect, test } from 'vitest';
import { sharedAnswer } from '../src/log/shared-answer.js';

test('who asks while it is being answered shares the next answer', async () => {
  const answers: { resolve: (text: string) => void; reject: (error: Error) => void }[] = [];
  const ask = sharedAnswer(
    () => new Promise<string>((resolve, reject) => answers.push({ resolve, reject })),
  );
  const first = ask();
  const [second, third] = [ask(), ask()];
  expect(answers).toHaveLength(1);
  answers[0]?.resolve('one');
  expect(await first).toBe('one');
  expect(answers).toHaveLength(2);
  const fourth = ask();
  answers[1]?.reject(new Error('away'));
  await expect(second).rejects.toThrow('away');
  await expect(third).rejects.toThrow('away');
  // A failure is nobody's answer but theirs who shared it.
  expect(answers).toHaveLength(3);
  answers[2]?.resolve('three');
  expect(await fourth).toBe('three');
  const fifth = ask();
  expect(answers).toHaveLength(4);
  answers[3]?.resolve('four');
  expect(await fifth).toBe('four');
});
