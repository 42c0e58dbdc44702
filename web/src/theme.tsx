// Light or dark: as the system says, until somebody chooses; the choice is kept in this browser.

import { signal } from '@preact/signals';

type Theme = 'system' | 'light' | 'dark';

const KEY = 'treeline.theme';
const NEXT: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };
const system = matchMedia('(prefers-color-scheme: dark)');

const probe = document.createElement('span');
probe.hidden = true;
document.body.append(probe);

const theme = signal<Theme>(stored());
/** Rises when colours change: a chart is drawn with those of its time. */
export const colourVersion = signal(0);

apply();
system.addEventListener('change', () => {
  colourVersion.value++;
});

export function switchTheme(): void {
  theme.value = NEXT[theme.value];
  if (theme.value === 'system') localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, theme.value);
  apply();
}

export function ThemeButton() {
  return (
    <button
      type="button"
      class="quiet"
      onClick={switchTheme}
      title="Light, dark, or as the system (t)"
    >
      {theme.value === 'system' ? 'auto' : theme.value}
    </button>
  );
}

/** As a canvas takes it: the one of the two in force, which only an element can tell. */
export function colour(name: string): string {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function apply(): void {
  const { classList } = document.documentElement;
  classList.toggle('light', theme.value === 'light');
  classList.toggle('dark', theme.value === 'dark');
  colourVersion.value++;
}

function stored(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'system';
}
