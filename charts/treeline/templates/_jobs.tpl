{{/* Jobs: which there are, and what each of them runs. */}}

{{/* Names of the jobs that there are, with spaces between them. */}}
{{- define "treeline.jobNames" -}}
{{- if not (include "treeline.isService" .) -}}
task
{{- else -}}
{{- $names := list -}}
{{- range $name := list "topics" "score" "backtest" "stateExport" "report" -}}
{{- if (get $.Values.jobs $name).enabled }}{{ $names = append $names $name }}{{ end -}}
{{- end -}}
{{- join " " $names -}}
{{- end -}}
{{- end -}}

{{/* dict root, name: defaults, jobDefaults and the job's own values, merged */}}
{{- define "treeline.job" -}}
{{- $own := ternary .root.Values.task (get .root.Values.jobs .name) (eq .name "task") -}}
{{- $basics := dict "resources" .root.Values.task.resources -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) $basics (deepCopy .root.Values.jobDefaults) (deepCopy $own) | toYaml -}}
{{- end -}}

{{- define "treeline.isScheduled" -}}
{{- if or (has .name (list "stateExport" "report")) (and (eq .name "task") (eq .root.Values.workloadType "cronjob")) -}}true{{- end -}}
{{- end -}}

{{/* dict root, name, job: arguments of treeline, as JSON */}}
{{- define "treeline.jobArgs" -}}
{{- $j := .job -}}
{{- $config := list "--config" "/etc/treeline/config/treeline.yaml" -}}
{{- if eq .name "task" -}}
{{- $j.args | toJson -}}
{{- else if eq .name "topics" -}}
{{- concat (list "topics") $config | toJson -}}
{{- else if eq .name "score" -}}
{{- list "score" (printf "/work/%s" $j.input) "--out" (printf "/work/%s" $j.output) | toJson -}}
{{- else if eq .name "backtest" -}}
{{- list "backtest" "--prometheus" $j.prometheus "--query" $j.query "--start" $j.start "--suggest" | toJson -}}
{{- else if eq .name "stateExport" -}}
{{- concat (list "state" "export" "/work/NAME") $config | toJson -}}
{{- else if eq .name "report" -}}
{{- $args := list "report" "--last" $j.last "--prometheus" $j.prometheus "--anomalies" (include "treeline.url" (dict "root" .root "key" (include "treeline.reader" .root))) -}}
{{- if .root.Values.auth.enabled }}{{ $args = concat $args (list "--token-file" "/etc/treeline/auth/read") }}{{ end -}}
{{- toJson $args -}}
{{- end -}}
{{- end -}}

{{/*
The image has no shell. Scripts run in its Node, behind -- as arguments are not Node's, and the program as a process of
its own, whose exit is theirs.
A pod of an indexed Job knows its index, which begins at 0; parts begin at 1.
*/}}
{{- define "treeline.shardScript" -}}
const { spawnSync } = require('node:child_process');
const shard = `${Number(process.env.JOB_COMPLETION_INDEX) + 1}/{{ .completions }}`;
const done = spawnSync(process.execPath, ['{{ .main }}', ...process.argv.slice(1), '--shard', shard], { stdio: 'inherit' });
process.exit(done.status ?? 1);
{{- end -}}

{{- define "treeline.exportScript" -}}
const { spawnSync } = require('node:child_process');
const { readdirSync, rmSync } = require('node:fs');
const file = `/work/treeline-${new Date().toISOString().replace(/[-:]|\.[0-9]+/g, '')}.tls`;
const run = (...args) => {
  const done = spawnSync(process.execPath, ['{{ .main }}', 'state', ...args], { stdio: 'inherit' });
  if (done.status !== 0) process.exit(done.status ?? 1);
};
run('export', file, ...process.argv.slice(1));
run('verify', file);
const files = readdirSync('/work').filter((name) => /^treeline-[0-9TZ]+\.tls$/.test(name)).sort().reverse();
for (const name of files.slice({{ .keep }})) rmSync(`/work/${name}`);
{{- end -}}

{{/* dict root, name, job: spec of a Job */}}
{{- define "treeline.jobSpec" -}}
{{- $root := .root -}}
{{- $j := .job -}}
{{- $args := include "treeline.jobArgs" . | fromJsonArray -}}
{{- $isSharded := or (eq .name "score") (dig "sharded" false $j) -}}
{{- $main := "/app/dist/src/main.js" -}}
{{- $command := list -}}
{{- if $isSharded -}}
{{- $command = list "node" "-e" (include "treeline.shardScript" (dict "main" $main "completions" (int $j.completions))) "--" -}}
{{- else if eq .name "stateExport" -}}
{{- $command = list "node" "-e" (include "treeline.exportScript" (dict "main" $main "keep" (int $j.keep))) "--" -}}
{{- $args = slice $args 3 -}}
{{- end -}}
{{- $pod := dict "root" $root "key" "jobs" "component" (omit $j "args" "command" "model") "args" $args "command" $command "isJob" true "data" "emptyDir: {}" -}}
{{- if $j.existingClaim -}}
{{- $volumes := append $j.extraVolumes (dict "name" "work" "persistentVolumeClaim" (dict "claimName" $j.existingClaim)) -}}
{{- $mounts := append $j.extraVolumeMounts (dict "name" "work" "mountPath" "/work") -}}
{{- $_ := set $pod "component" (merge (dict "extraVolumes" $volumes "extraVolumeMounts" $mounts) (omit $j "args" "command" "model" "extraVolumes" "extraVolumeMounts")) -}}
{{- end -}}
backoffLimit: {{ $j.backoffLimit }}
ttlSecondsAfterFinished: {{ $j.ttlSecondsAfterFinished }}
{{- with $j.activeDeadlineSeconds }}
activeDeadlineSeconds: {{ . }}
{{- end }}
parallelism: {{ $j.parallelism }}
completions: {{ $j.completions }}
completionMode: {{ ternary "Indexed" "NonIndexed" $isSharded }}
template:
  {{- include "treeline.podMetadata" $pod | nindent 2 }}
  spec:
    restartPolicy: {{ $j.restartPolicy }}
    {{- include "treeline.podSpec" $pod | nindent 4 }}
{{- end -}}

{{- define "treeline.validateJobs" -}}
{{- $v := .Values -}}
{{- if not (include "treeline.isService" .) -}}
{{- if not $v.task.args -}}
{{- fail (printf "task.args: say what workloadType %s is to run, such as [score, /work/input, --out, /work/output]" $v.workloadType) -}}
{{- end -}}
{{- end -}}
{{- if and $v.jobs.score.enabled (not $v.jobs.score.existingClaim) -}}
{{- fail "jobs.score.existingClaim: name the claim that has the files" -}}
{{- end -}}
{{- if and $v.jobs.backtest.enabled (not (and $v.jobs.backtest.prometheus $v.jobs.backtest.query)) -}}
{{- fail "jobs.backtest: name prometheus and query" -}}
{{- end -}}
{{- if and $v.edge.backfill.enabled (not (and $v.edge.backfill.prometheus $v.edge.backfill.query)) -}}
{{- fail "edge.backfill: name prometheus and query" -}}
{{- end -}}
{{- if $v.jobs.report.enabled -}}
{{- if not $v.jobs.report.prometheus -}}
{{- fail "jobs.report.prometheus: name the Prometheus that evaluates your alerts" -}}
{{- end -}}
{{- end -}}
{{- if $v.jobs.stateExport.enabled -}}
{{- if not $v.jobs.stateExport.existingClaim -}}
{{- fail "jobs.stateExport.existingClaim: name the claim to write to" -}}
{{- end -}}
{{- if or (include "treeline.isEdge" .) (ne $v.scorer.checkpointStore "topic") -}}
{{- fail "jobs.stateExport.enabled: beside running scorers it reads scorer.checkpointStore: topic, in mode: cluster; a volume belongs to its pod" -}}
{{- end -}}
{{- end -}}
{{- if and $v.jobs.topics.enabled (include "treeline.isEdge" .) -}}
{{- fail "jobs.topics.enabled: mode edge has no topics" -}}
{{- end -}}
{{- end -}}
