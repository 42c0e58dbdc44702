// What can be done about an incident: say what it was, keep it quiet for a while, or take it along as a rule, a silence or
// a link.

import { useSignal } from '@preact/signals';
import { FeedbackButtons, mute } from './actions.js';
import { shortened, shortSelectorOf, visible } from './format.js';
import type { Anomaly, Story } from './rows.js';
import { alertRule, feedbackCommand, maintenanceCommand, silenceCommand } from './snippets.js';
import { CopyButton } from './text.js';

export function IncidentActions({
  story,
  spokenOf,
}: {
  story: Story;
  spokenOf: readonly string[];
}) {
  const first = story.members.find(({ id }) => id === story.firstMover.anomaly) ?? story.members[0];
  return (
    <section aria-label="What to do" class="actions">
      <h2>What was it?</h2>
      <p class="buttons">
        <FeedbackButtons anomalies={spokenOf} />
        <span class="faint">
          {spokenOf.length < story.members.length
            ? `said of the first ${spokenOf.length} anomalies`
            : `said of ${spokenOf.length === 1 ? 'this anomaly' : `all ${spokenOf.length} anomalies`}`}
          ; each can be taken back
        </span>
      </p>
      <Muting story={story} first={first} />
      <h2>Take along</h2>
      <p class="buttons">
        {first !== undefined && <CopyButton text={alertRule(first)} label="Copy as alert rule" />}
        <CopyButton text={silenceCommand(story)} label="Copy as silence" />
        {first !== undefined && (
          <>
            <CopyButton
              text={maintenanceCommand(
                shortSelectorOf(entityLabels(first.labels, story.firstMover.entity)),
                `Treeline incident ${story.id}`,
              )}
              label="Copy as maintenance window"
            />
            <CopyButton text={feedbackCommand('false-alarm', first.id)} label="Copy as feedback" />
          </>
        )}
        <CopyButton text={location.href} label="Copy link" />
      </p>
    </section>
  );
}

/** A maintenance window for as much as somebody chooses: where it began, or all that its series have in common. */
function Muting({ story, first }: { story: Story; first: Anomaly | undefined }) {
  const wide = useSignal(false);
  const labels = first?.labels ?? {};
  const shared = sharedLabels(story.members);
  const narrow = entityLabels(labels, story.firstMover.entity);
  const selector = shortSelectorOf(wide.value && Object.keys(shared).length > 0 ? shared : narrow);
  return (
    <>
      <h2>Keep quiet</h2>
      <p class="buttons">
        {[1, 4, 24].map((hours) => (
          <button
            key={hours}
            type="button"
            onClick={() => void mute(selector, { start: story.start, hours })}
          >
            Mute for {hours} h
          </button>
        ))}
        <span class="faint">a maintenance window for</span>
        <select
          aria-label="What is muted"
          value={wide.value ? 'shared' : 'first'}
          onChange={(event) => {
            wide.value = event.currentTarget.value === 'shared';
          }}
        >
          <option value="first">where it began</option>
          {Object.keys(shared).length > 0 && (
            <option value="shared">all they have in common</option>
          )}
        </select>
        <code>{visible(shortened(selector, 120))}</code>
      </p>
    </>
  );
}

function sharedLabels(members: readonly Anomaly[]): Record<string, string> {
  const [first, ...others] = members;
  const shared = Object.entries(first?.labels ?? {}).filter(([name, value]) =>
    others.every(({ labels }) => labels[name] === value),
  );
  return Object.fromEntries(shared);
}

/** Those labels of which the entity is named; of a series without an entity all. */
function entityLabels(
  labels: Readonly<Record<string, string>>,
  entity: string,
): Record<string, string> {
  const named = Object.entries(labels).filter(([name, value]) =>
    ` ${entity} `.includes(` ${name}=${value} `),
  );
  return Object.fromEntries(named.length > 0 ? named : Object.entries(labels));
}
