{{/*
History before the first sample, of an edge: read once, before the program's first start on this volume. What has been
read stays marked beside the data directory, as the same call on a running installation would be refused.
*/}}
{{- define "treeline.backfill" -}}
{{- $b := .component.backfill -}}
{{- $args := list "--config" "/etc/treeline/config/treeline.yaml" "--prometheus" $b.prometheus "--query" $b.query "--lookback" $b.lookback -}}
{{- if $b.existingSecret }}{{ $args = concat $args (list "--token-file" (printf "/etc/treeline/backfill/%s" $b.tokenKey)) }}{{ end -}}
- name: backfill
  image: {{ include "treeline.ownImage" (dict "root" .root "image" .component.image) }}
  imagePullPolicy: {{ coalesce .component.image.pullPolicy .root.Values.image.pullPolicy }}
  command:
    - node
    - -e
    - |
      const { spawnSync } = require('node:child_process');
      const { existsSync, writeFileSync } = require('node:fs');
      if (existsSync('/data/backfilled')) process.exit(0);
      const args = ['/app/dist/src/main.js', 'backfill', ...process.argv.slice(1)];
      const done = spawnSync(process.execPath, args, { stdio: 'inherit' });
      if (done.status === 0) writeFileSync('/data/backfilled', '');
      process.exit(done.status ?? 1);
    - --
  args: {{ toJson $args }}
  {{- with include "treeline.resources" .component }}
  resources:
    {{- . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "treeline.securityContext" (dict "root" .root "context" .component.securityContext) | nindent 4 }}
  volumeMounts:
    {{- include "treeline.mounts" . | nindent 4 }}
    {{- if $b.existingSecret }}
    - { name: backfill, mountPath: /etc/treeline/backfill, readOnly: true }
    {{- end }}
{{- end -}}
