import { expect, test } from 'vitest';
import { anyOf, BadMatcher, parseSelector } from '../src/matchers.js';

const LABELS = new Map([
  ['__name__', 'node_load1'],
  ['job', 'node'],
  ['instance', 'a:9100'],
  ['my.label', 'x"y'],
]);

const ok = (selector: string, want: boolean) =>
  expect([selector, parseSelector(selector)(LABELS)]).toEqual([selector, want]);

test('selectors match as PromQL does', () => {
  ok('node_load1', true);
  ok('node_load', false);
  ok('node_load1{job="node"}', true);
  ok('{job="node"}', true);
  ok(`{job='node', instance="a:9100",}`, true);
  ok('{job!="node"}', false);
  ok('{absent=""}', true);
  ok('{absent!=""}', false);
  ok('{job=~"no.e"}', true);
  ok('{job=~"no"}', false);
  ok('{job=~"no|node"}', true);
  ok('{job!~"no.*"}', false);
  ok('{__name__=~"node_.*"}', true);
  ok('{"my.label"="x\\"y"}', true);
  ok('node_load1{}', true);
});

test('a selector that cannot be read says where', () => {
  const bad = (selector: string, problem: string | RegExp) =>
    expect(() => parseSelector(selector)).toThrow(problem);
  bad('', 'it is empty');
  bad('{}', 'it is empty');
  bad('{job="node"', 'expected , or }');
  bad('{job=node}', 'expected label="value"');
  bad('{job="node"} or up', 'text after }');
  bad('{job=~"("}', 'is no regular expression');
  bad('{job=~"(a+)+"}', 'may take too long');
  bad('{job=~"(a)\\\\1"}', 'may take too long');
  bad(`{job=~"${'a'.repeat(300)}"}`, 'at most 256');
  bad(`{job="${'a'.repeat(3000)}"}`, 'at most 2048');
  expect(() => parseSelector('{')).toThrow(BadMatcher);
});

test('several selectors match when one does; none match everything', () => {
  const labels = [{ name: 'job', value: 'node' }];
  expect(anyOf(['{job="x"}', '{job="node"}'])(labels)).toBe(true);
  expect(anyOf(['{job="x"}'])(labels)).toBe(false);
  expect(anyOf([])(labels)).toBe(true);
});
