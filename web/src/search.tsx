// The field for a selector: what it holds becomes part of the address, so a search can be kept and sent.

import { go, linkWith, route } from './route.js';

export function Search({ placeholder }: { placeholder: string }) {
  const match = route.value.query['match'] ?? '';
  const submit = (event: Event) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const typed = String(new FormData(form).get('match') ?? '').trim();
    go(linkWith({ match: typed === '' ? undefined : typed }));
  };
  return (
    <form class="search" onSubmit={submit} key={match}>
      <input
        type="search"
        name="match"
        defaultValue={match}
        placeholder={placeholder}
        aria-label="Only what this selector matches"
        spellcheck={false}
      />{' '}
      {match !== '' && <a href={linkWith({ match: undefined })}>Show all</a>}
    </form>
  );
}
