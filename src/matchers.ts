// Series selectors as PromQL writes them: `name{label="value", other=~"regex", absent!=""}`. Regular expressions are
// anchored at both ends, bounded in length, and refused when they could take exponential time: they come from whoever
// can reach the HTTP port.

import { MATCHER_LENGTH_MAX, REGEX_LENGTH_MAX } from './limits.js';
import type { Label } from './series.js';

export type Matcher = (labels: ReadonlyMap<string, string>) => boolean;

/** Says what is wrong with a selector; answered 400. */
export class BadMatcher extends Error {}

const TOKEN =
  /\s*(?:([a-zA-Z_:][a-zA-Z0-9_:.]*)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(=~|!~|!=|=)|([{},]))/y;

/** True when any of the selectors matches; every series when there is none. Throws BadMatcher. */
export function anyOf(selectors: readonly string[]): (labels: readonly Label[]) => boolean {
  if (selectors.length === 0) return () => true;
  const matchers = selectors.map(parseSelector);
  return (labels) => {
    const byName = new Map(labels.map(({ name, value }) => [name, value]));
    return matchers.some((matches) => matches(byName));
  };
}

export function parseSelector(selector: string): Matcher {
  if (selector.length > MATCHER_LENGTH_MAX) {
    throw new BadMatcher(
      `The selector has ${selector.length} characters, at most ${MATCHER_LENGTH_MAX}`,
    );
  }
  const tokens = tokenise(selector);
  const tests: Matcher[] = [];
  let at = 0;
  const name = tokens[at];
  if (name?.kind === 'word') {
    tests.push((labels) => labels.get('__name__') === name.text);
    at++;
  }
  if (at < tokens.length) {
    if (tokens[at]?.text !== '{') throw wrong(selector, 'expected { after the metric name');
    at++;
    while (tokens[at]?.text !== '}') {
      const [label, operator, value] = tokens.slice(at, at + 3);
      if (label === undefined) throw wrong(selector, 'expected }');
      const isName = label.kind === 'word' || label.kind === 'string';
      if (!isName || operator?.kind !== 'operator' || value?.kind !== 'string') {
        throw wrong(selector, 'expected label="value"');
      }
      tests.push(testOf(label.text, operator.text, value.text));
      at += 3;
      if (tokens[at]?.text === ',') at++;
      else if (tokens[at]?.text !== '}') throw wrong(selector, 'expected , or }');
    }
    if (at + 1 < tokens.length) throw wrong(selector, 'text after }');
  }
  if (tests.length === 0) throw wrong(selector, 'it is empty');
  return (labels) => tests.every((test) => test(labels));
}

/**
 * Values that must be among the labels of whatever matches, a list for each selector. Undefined when there is no selector,
 * or one that demands none. The selectors are such that anyOf takes them.
 */
export function demandedBy(selectors: readonly string[]): string[][] | undefined {
  const lists = selectors.map((selector) => {
    const tokens = tokenise(selector);
    return tokens.flatMap(({ kind, text }, at) => {
      const isName = kind === 'word' && at === 0;
      const isValue =
        kind === 'string' && tokens[at - 1]?.text === '=' && tokens[at - 1]?.kind === 'operator';
      return (isName || isValue) && text !== '' ? [text] : [];
    });
  });
  return lists.length === 0 || lists.some((list) => list.length === 0) ? undefined : lists;
}

interface Token {
  kind: 'word' | 'string' | 'operator' | 'mark';
  text: string;
}

function tokenise(selector: string): Token[] {
  const tokens: Token[] = [];
  const trimmed = selector.trimEnd();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < trimmed.length) {
    const from = TOKEN.lastIndex;
    const found = TOKEN.exec(trimmed);
    if (found === null)
      throw wrong(selector, `cannot read ${JSON.stringify(trimmed.slice(from, from + 20))}`);
    const [, word, string, operator, mark] = found;
    if (word !== undefined) tokens.push({ kind: 'word', text: word });
    else if (string !== undefined) tokens.push({ kind: 'string', text: unquote(string) });
    else if (operator !== undefined) tokens.push({ kind: 'operator', text: operator });
    else if (mark !== undefined) tokens.push({ kind: 'mark', text: mark });
  }
  return tokens;
}

function unquote(string: string): string {
  return string.slice(1, -1).replace(/\\(.)/g, (_all, character: string) => {
    return { n: '\n', t: '\t', r: '\r' }[character] ?? character;
  });
}

function testOf(name: string, operator: string, value: string): Matcher {
  if (operator === '=') return (labels) => (labels.get(name) ?? '') === value;
  if (operator === '!=') return (labels) => (labels.get(name) ?? '') !== value;
  const regex = anchored(value);
  return (labels) => regex.test(labels.get(name) ?? '') === (operator === '=~');
}

function anchored(pattern: string): RegExp {
  if (pattern.length > REGEX_LENGTH_MAX) {
    throw new BadMatcher(
      `The regular expression has ${pattern.length} characters, at most ${REGEX_LENGTH_MAX}`,
    );
  }
  // A repeated group that repeats inside itself, and back-references, are what takes exponential time.
  if (/\([^)]*[+*{][^)]*\)\s*[+*{]/.test(pattern) || /\\[1-9]|\(\?[=!<]/.test(pattern)) {
    throw new BadMatcher(
      `The regular expression ${JSON.stringify(pattern)} may take too long; simplify it`,
    );
  }
  try {
    return new RegExp(`^(?:${pattern})$`, 'su');
  } catch (error) {
    throw new BadMatcher(
      `${JSON.stringify(pattern)} is no regular expression: ${(error as Error).message}`,
    );
  }
}

function wrong(selector: string, problem: string): BadMatcher {
  return new BadMatcher(
    `Cannot read the selector ${JSON.stringify(selector.slice(0, 100))}: ${problem}`,
  );
}
