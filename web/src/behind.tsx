// Of an entity, whose distance is scored as a series of its own: the features behind it, and how surprising each is given
// the others. None of them need be unusual by itself.

import { number } from './format.js';
import { linkTo } from './route.js';
import type { Entity } from './rows.js';
import { Name, Time } from './text.js';

export function Behind({ entity }: { entity: Entity }) {
  const { detector, labels, vector, features, inheritedFrom } = entity;
  const match = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const sorted = features.toSorted((a, b) => (b.surprise ?? -1) - (a.surprise ?? -1));
  return (
    <section aria-label="What is behind it">
      <h2>What is behind it</h2>
      <p class="faint">
        Detector <Name text={detector} />, vector of <Time at={vector} />
        {inheritedFrom !== undefined && (
          <>
            ; it began with what <Name text={inheritedFrom} /> had learnt
          </>
        )}
        . A surprise of 1 is exceeded by one of its own thousand.{' '}
        <a href={linkTo('series', undefined, { match: `{${match.join(',')}}` })}>Its series</a>
      </p>
      <table>
        <thead>
          <tr>
            <th>Feature</th>
            <th>Value</th>
            <th>Surprise</th>
          </tr>
        </thead>
        <tbody>
          {sorted.map(({ name, value, surprise }) => (
            <tr key={name}>
              <td>
                <Name text={name} />
              </td>
              <td>{value === null ? 'missing' : number(value)}</td>
              <td class={(surprise ?? 0) > 1 ? 'text-s2' : ''}>{number(surprise)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
