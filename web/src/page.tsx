// What is around every view: the head, the banner when nothing is heard any more, the question for a token, the bar that
// takes a word back, and the keys.

import { useEffect } from 'preact/hooks';
import { Said } from './actions.js';
import { connection, staleSinceMs } from './events.js';
import { duration } from './format.js';
import { IncidentView } from './incident.js';
import { HelpDialog, listenToKeys, openHelp } from './keys.js';
import { Login } from './login.js';
import { NowView } from './now.js';
import { refusal } from './rest.js';
import { linkTo, route } from './route.js';
import { SeriesList } from './series-list.js';
import { SeriesView } from './series-view.js';
import { SystemView } from './system.js';
import { Time } from './text.js';
import { ThemeButton } from './theme.js';
import { nowMs } from './ticks.js';

export function Page() {
  useEffect(listenToKeys, []);
  return (
    <>
      <Head />
      <StaleBanner />
      <main id="main" tabIndex={-1}>
        {refusal.value === undefined ? <View /> : <Login reason={refusal.value} />}
      </main>
      <Said />
      <HelpDialog />
    </>
  );
}

function View() {
  const { view, id } = route.value;
  if (view === 'incident' && id !== undefined) return <IncidentView key={id} id={id} />;
  if (view === 'series') {
    return id === undefined ? <SeriesList /> : <SeriesView key={id} fingerprint={id} />;
  }
  if (view === 'system') return <SystemView />;
  return <NowView />;
}

function Head() {
  const { view } = route.value;
  const at = (name: string) => (view === name ? { 'aria-current': 'page' as const } : {});
  return (
    <header class="head">
      <a class="brand" href={linkTo('now')}>
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M1 11h3l2-3 2 4 2-9 2 8h3" />
        </svg>
        Treeline
      </a>
      <nav class="tabs" aria-label="Views">
        <a href={linkTo('now')} {...at('now')}>
          Now
        </a>
        <a href={linkTo('series')} {...at('series')}>
          Series
        </a>
        <a href={linkTo('system')} {...at('system')}>
          System
        </a>
      </nav>
      <span class={`connection ${connection.value}`} role="status">
        {connection.value === 'live'
          ? 'live'
          : connection.value === 'stale'
            ? 'stale'
            : 'connecting'}
      </span>
      <ThemeButton />
      <button type="button" class="quiet" onClick={openHelp} aria-label="Keys and words">
        ?
      </button>
    </header>
  );
}

function StaleBanner() {
  const since = staleSinceMs.value;
  if (since === undefined || connection.value === 'live') return null;
  return (
    <p class="stale-banner" role="alert">
      Treeline has not been heard since <Time at={since} /> ({duration(nowMs.value - since)}). What
      is shown may be old; the page goes on trying.
    </p>
  );
}
