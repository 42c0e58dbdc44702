// Asks for what the server wants to see: a token, or a name with its password, and a tenant where there are several. It is
// kept for this tab only.

import { useSignal } from '@preact/signals';
import { bump, reconnect } from './events.js';
import { forgetCredential, hasCredential, keepCredential } from './rest.js';
import { Name } from './text.js';

export function Login({ reason }: { reason: string }) {
  const name = useSignal('');
  const secret = useSignal('');
  const tenant = useSignal('');
  const submit = (event: Event) => {
    event.preventDefault();
    const isBasic = name.value !== '';
    keepCredential({
      kind: isBasic ? 'Basic' : 'Bearer',
      secret: isBasic ? base64(`${name.value}:${secret.value}`) : secret.value.trim(),
      tenant: tenant.value.trim(),
    });
    reconnect();
    bump();
  };
  return (
    <form class="login" onSubmit={submit}>
      <h1>Who are you?</h1>
      <p>
        <Name text={reason} lengthMax={300} />. A token or a password of{' '}
        <code>auth.credentials</code> that may read is enough to look; one that may{' '}
        <code>admin</code> can also give feedback. It is kept for this tab, and goes nowhere but
        here.
      </p>
      <label>
        Token or password
        <input
          type="password"
          name="token"
          autocomplete="off"
          required={tenant.value === ''}
          value={secret.value}
          onInput={(event) => {
            secret.value = event.currentTarget.value;
          }}
        />
      </label>
      <label>
        Name <span class="faint">only with a password</span>
        <input
          name="name"
          autocomplete="off"
          value={name.value}
          onInput={(event) => {
            name.value = event.currentTarget.value;
          }}
        />
      </label>
      <label>
        Tenant <span class="faint">only where there are several</span>
        <input
          name="tenant"
          autocomplete="off"
          value={tenant.value}
          onInput={(event) => {
            tenant.value = event.currentTarget.value;
          }}
        />
      </label>
      <p class="buttons">
        <button type="submit" class="primary">
          Look
        </button>
        {hasCredential() && (
          <button type="button" onClick={forgetCredential}>
            Forget what was given
          </button>
        )}
      </p>
    </form>
  );
}

/** Of the UTF-8 bytes, as RFC 7617 says. */
function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
