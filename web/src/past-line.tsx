// Under a chart: how far back it goes, and where the values from before Treeline's own come from or why there are none.

import { clock, duration } from './format.js';
import type { Points } from './observed.js';
import { chosenSpan, type Past, SPANS, type Span, spanInAddress } from './past.js';
import { linkWith } from './route.js';
import { Name } from './text.js';

export function PastLine({ past, points }: { past: Past; points: Points }) {
  const { ownFrom, seenFrom } = points;
  return (
    <>
      <p>
        <PastSentence past={past} />
      </p>
      {seenFrom !== undefined && (
        <p>
          {seenFrom === ownFrom
            ? 'Treeline keeps the newest values only where a deep check looks at them; these, with band and score,'
            : 'Of bands and scores Treeline keeps the newest only; those that are drawn'}{' '}
          the page has seen itself since {clock(seenFrom * 1000)}.
        </p>
      )}
    </>
  );
}

function PastSentence({ past }: { past: Past }) {
  const { path, answer, error } = past;
  // Of what is not scored no time is known to look before.
  if (path === undefined) return null;
  if (error !== undefined) {
    return (
      <span class="failure">
        Older values are missing: <Name text={error.message} lengthMax={300} />.
      </span>
    );
  }
  if (answer === undefined) return <>Asking for older values …</>;
  const { prometheus, stepSeconds, reason, warnings } = answer;
  if (prometheus === null) {
    return (
      <>
        Older values are not kept here. Name a Prometheus in <code>backfill.prometheus</code> or{' '}
        <code>sources</code>, and they are read from there.
      </>
    );
  }
  return (
    <>
      {reason === '' ? (
        <>
          What was before is read from <Name text={prometheus} lengthMax={80} />, a value every{' '}
          {duration(1000 * stepSeconds)}.
        </>
      ) : (
        <>
          <Name text={reason} lengthMax={200} />.
        </>
      )}
      {warnings.map((warning) => (
        <Name key={warning} text={warning} lengthMax={200} />
      ))}
    </>
  );
}

/** How far back; nothing to choose where nothing older can be had. */
export function PastSpans({ past }: { past: Past }) {
  if (past.answer?.prometheus === null) return null;
  const chosen = chosenSpan();
  return (
    <nav class="tabs" aria-label="Time span">
      {(Object.keys(SPANS) as Span[]).map((name) => (
        <a
          key={name}
          href={linkWith({ span: spanInAddress(name) })}
          {...(name === chosen && { 'aria-current': 'true' as const })}
        >
          {name}
        </a>
      ))}
    </nav>
  );
}
