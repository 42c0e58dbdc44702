// What kube-score says of every overlay, of combinations, and of what Kustomize builds: nothing, but for the exceptions
// below, each with its reason and for as few objects as it holds for. An exception that nothing needs any more fails, too.
// It needs no cluster; it is here because the program is built first.

import { execFile } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { helmPrograms } from '../chart-programs.js';
import { CHART, renderText } from '../chart-render.js';
import { kubeScoreBinary } from '../go-peers/kube-score.js';
import { removeDirectory, temporaryDirectory } from '../programs.js';
import { projectRoot } from '../project-root.js';

const execute = promisify(execFile);
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
/** kube-score's grades: 1 critical, 5 warning, 7 almost, 10 nothing to say. */
const GRADE_BEST = 10;

const DEVELOPMENT = /-(kafka|redis)$/;

interface Exception {
  check: string;
  /** Of `OVERLAY KIND/NAME`. */
  where: RegExp;
  reason: string;
}

const EXCEPTIONS: readonly Exception[] = [
  {
    check: 'container-image-pull-policy',
    where: /./,
    reason:
      'Images are named by a version or a digest, latest is refused; with Always a registry that is away would stop restarts',
  },
  {
    check: 'container-ephemeral-storage-request-and-limit',
    where: /./,
    reason:
      'Nothing is written but to volumes and standard output; a limit would evict a pod whose volume is an emptyDir, persistence being off',
  },
  {
    check: 'pod-networkpolicy',
    where: /^(?!(kustomize-)?(production|staging))/,
    reason:
      'Policies want a network that obeys them and name who may write and scrape: staging and production have them, and there none is missing',
  },
  {
    check: 'deployment-replicas',
    where: /-(receiver|deep-check)$/,
    reason: 'What is for trying out runs once; a deep check that is away holds nothing up',
  },
  {
    check: 'deployment-replicas',
    where: /-api$/,
    reason: 'More than one needs a Redis; one that is replaced loses nothing, see values.yaml',
  },
  {
    check: 'deployment-strategy',
    where: /-api$/,
    reason: 'Its volume goes with one pod at a time, so the old one ends before the new one begins',
  },
  {
    check: 'pod-probes-identical',
    where: DEVELOPMENT,
    reason: 'The development Kafka says no more of itself than that it listens',
  },
  {
    check: 'container-security-context-user-group-id',
    where: DEVELOPMENT,
    reason: 'The user of the image, to whom its files belong',
  },
  {
    check: 'statefulset-has-servicename',
    where: /-edge$/,
    reason: 'One pod needs no name of its own, and its Service has an address that senders keep',
  },
];

interface Finding {
  where: string;
  check: string;
  says: string;
}

interface Scored {
  type_meta: { kind: string };
  object_meta: { name: string };
  checks:
    | {
        check: { id: string };
        grade: number;
        skipped: boolean;
        comments: { path: string; summary: string }[] | null;
      }[]
    | null;
}

async function findingsIn(texts: ReadonlyMap<string, string>): Promise<Finding[]> {
  const program = await kubeScoreBinary();
  const directory = temporaryDirectory('score');
  const found: Finding[] = [];
  for (const [name, text] of texts) {
    const file = join(directory, 'objects.yaml');
    writeFileSync(file, text);
    const format = ['--output-format', 'json', '--kubernetes-version', 'v1.36'];
    // Of CPU limits: a throttled process looks like a slow one, so the chart sets none; memory has limits everywhere.
    const args = ['score', ...format, '--ignore-container-cpu-limit', file];
    const { stdout } = await execute(program, args, { maxBuffer: OUTPUT_BYTES_MAX }).catch(
      // It ends with 1 when it has something to say.
      (error: { stdout?: string; message: string }) => {
        if (error.stdout?.startsWith('[')) return { stdout: error.stdout };
        throw new Error(error.message);
      },
    );
    for (const { type_meta, object_meta, checks } of JSON.parse(stdout) as Scored[]) {
      for (const { check, grade, skipped, comments } of checks ?? []) {
        if (skipped || grade >= GRADE_BEST) continue;
        const says = (comments ?? []).map(({ path, summary }) => `${path}: ${summary}`).join('; ');
        const where = `${name} ${type_meta.kind}/${object_meta.name}`;
        found.push({ where, check: check.id, says });
      }
    }
  }
  removeDirectory(directory);
  return found;
}

async function everything(): Promise<Map<string, string>> {
  const overlays = readdirSync(CHART).flatMap(
    (name) => /^values-(.+)\.yaml$/.exec(name)?.[1] ?? [],
  );
  expect(overlays.length).toBeGreaterThanOrEqual(12);
  const combined = [
    ['production', 'large'],
    ['production', 'gpu'],
    ['production', 'inference'],
  ];
  const texts = new Map<string, string>([['none', await renderText({})]]);
  for (const names of [...overlays.map((name) => [name]), ...combined]) {
    texts.set(names.join('+'), await renderText({}, { overlays: names }));
  }
  const { kubectl } = await helmPrograms(4);
  for (const name of ['dev', 'staging', 'production']) {
    const folder = join(projectRoot(), 'deploy/kustomize/overlays', name);
    texts.set(`kustomize-${name}`, (await execute(kubectl, ['kustomize', folder])).stdout);
  }
  return texts;
}

test('kube-score says nothing that has no reason to stand', async () => {
  const findings = await findingsIn(await everything());
  const isException = ({ check, where }: Finding, exception: Exception) =>
    exception.check === check && exception.where.test(where);
  const unexplained = findings.filter(
    (finding) => !EXCEPTIONS.some((exception) => isException(finding, exception)),
  );
  expect(unexplained).toEqual([]);
  const unused = EXCEPTIONS.filter(
    (exception) => !findings.some((finding) => isException(finding, exception)),
  );
  expect(unused).toEqual([]);
});

test('what kube-score would object to is found', async () => {
  const text = `apiVersion: v1
kind: Pod
metadata: { name: loose, namespace: obs }
spec: { containers: [{ name: loose, image: "loose:latest" }] }
`;
  const checks = (await findingsIn(new Map([['loose', text]]))).map(({ check }) => check);
  expect(checks).toEqual(expect.arrayContaining(['container-image-tag', 'container-resources']));
});
