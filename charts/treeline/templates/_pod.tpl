{{/* The pod of a component: one template for all of them, so that whatever can be said of one can be said of each. */}}

{{/* dict root, component (merged): labels of pods */}}
{{- define "treeline.podMetadata" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "treeline.labels" . | nindent 4 }}
    {{- with .component.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := merge (dict) .component.podAnnotations $root.Values.global.commonAnnotations -}}
  {{- if eq $root.Values.configReload "rollout" }}
  {{- $_ := set $annotations "checksum/config" (include "treeline.config" . | sha256sum) }}
  {{- end }}
  {{- if include "treeline.makesAuthSecret" $root }}
  {{- $_ := set $annotations "checksum/auth" (include "treeline.tokens" $root | sha256sum) }}
  {{- end }}
  {{- if $root.Values.secretEnv.create }}
  {{- $_ := set $annotations "checksum/secret-env" (toJson (list $root.Values.secretEnv.stringData $root.Values.secretEnv.data) | sha256sum) }}
  {{- end }}
  {{- if and $root.Values.monitoring.annotations (not .isJob) }}
  {{- $_ := set $annotations "prometheus.io/scrape" "true" }}
  {{- $_ := set $annotations "prometheus.io/port" (include "treeline.scrapePort" $root) }}
  {{- $_ := set $annotations "prometheus.io/scheme" (include "treeline.scheme" $root) }}
  {{- $_ := set $annotations "prometheus.io/path" (ternary "/metrics/anomalies" "/metrics" (eq .key (include "treeline.gauges" $root))) }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* On OpenShift the namespace says which user and group, and refuses others. dict root, context */}}
{{- define "treeline.securityContext" -}}
{{- $openshift := .root.Values.global.openshift -}}
{{- if or (eq $openshift "always") (and (eq $openshift "auto") (.root.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}
{{- omit .context "runAsUser" "runAsGroup" "fsGroup" | toYaml -}}
{{- else -}}
{{- toYaml .context -}}
{{- end -}}
{{- end -}}

{{/* env as a map, so that a name is there once; sorted by name. */}}
{{- define "treeline.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "treeline.envFrom" -}}
{{- $root := .root -}}
{{- if $root.Values.secretEnv.existingSecret }}
- secretRef: { name: {{ $root.Values.secretEnv.existingSecret }} }
{{- else if $root.Values.secretEnv.create }}
- secretRef: { name: {{ include "treeline.fullname" $root }}-env }
{{- end }}
{{- with .component.envFrom }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* dict root, key, component: where things lie in every container of ours */}}
{{- define "treeline.mounts" -}}
{{- $v := .root.Values -}}
- { name: config, mountPath: /etc/treeline/config, readOnly: true }
- { name: scratch, mountPath: /tmp }
- { name: data, mountPath: /data }
{{- if $v.auth.enabled }}
- { name: auth, mountPath: /etc/treeline/auth, readOnly: true }
{{- end }}
{{- if $v.tls.enabled }}
- { name: tls, mountPath: /etc/treeline/tls, readOnly: true }
{{- end }}
{{- if not (include "treeline.isEdge" .root) }}
{{- if and $v.kafka.tls.enabled $v.kafka.tls.existingSecret }}
- { name: kafka-tls, mountPath: /etc/treeline/kafka-tls, readOnly: true }
{{- end }}
{{- if ne $v.kafka.sasl.mechanism "none" }}
- { name: kafka-sasl, mountPath: /etc/treeline/kafka-sasl, readOnly: true }
{{- end }}
{{- end }}
{{- if include "treeline.usesRedis" . }}
{{- if include "treeline.redisSecret" .root }}
- { name: redis, mountPath: /etc/treeline/redis, readOnly: true }
{{- end }}
{{- if include "treeline.redisTlsSecret" .root }}
- { name: redis-tls, mountPath: /etc/treeline/redis-tls, readOnly: true }
{{- end }}
{{- end }}
{{- if and .component.model (ne (dig "model" "source" "image" .component) "image") }}
- { name: models, mountPath: /models, readOnly: true }
{{- end }}
{{- with .component.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* dict root, key, component; data: the volume called data, where it is not of a StatefulSet */}}
{{- define "treeline.volumes" -}}
{{- $v := .root.Values -}}
- name: config
  configMap: { name: {{ include "treeline.componentName" . }} }
- name: scratch
  emptyDir: {}
{{- with .data }}
- name: data
  {{- . | nindent 2 }}
{{- end }}
{{- if $v.auth.enabled }}
- name: auth
  secret:
    secretName: {{ include "treeline.authSecret" .root }}
    items:
      - { key: {{ $v.auth.writeKey }}, path: write }
      - { key: {{ $v.auth.readKey }}, path: read }
      - { key: {{ $v.auth.adminKey }}, path: admin }
{{- end }}
{{- if $v.tls.enabled }}
- name: tls
  secret: { secretName: {{ $v.tls.existingSecret }} }
{{- end }}
{{- if not (include "treeline.isEdge" .root) }}
{{- if and $v.kafka.tls.enabled $v.kafka.tls.existingSecret }}
- name: kafka-tls
  secret: { secretName: {{ $v.kafka.tls.existingSecret }} }
{{- end }}
{{- if ne $v.kafka.sasl.mechanism "none" }}
- name: kafka-sasl
  secret: { secretName: {{ $v.kafka.sasl.existingSecret }} }
{{- end }}
{{- end }}
{{- if include "treeline.usesRedis" . }}
{{- with include "treeline.redisSecret" .root }}
- name: redis
  secret: { secretName: {{ . }} }
{{- end }}
{{- with include "treeline.redisTlsSecret" .root }}
- name: redis-tls
  secret: { secretName: {{ . }} }
{{- end }}
{{- end }}
{{- with .component.model }}
{{- if eq .source "configMap" }}
- name: models
  configMap: { name: {{ .name }} }
{{- else if eq .source "claim" }}
- name: models
  persistentVolumeClaim: { claimName: {{ .name }}, readOnly: true }
{{- end }}
{{- end }}
{{- if and (eq .key "edge") (dig "backfill" "enabled" false .component) }}
{{- with .component.backfill.existingSecret }}
- name: backfill
  secret: { secretName: {{ . }} }
{{- end }}
{{- end }}
{{- with .component.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* dict root, probe */}}
{{- define "treeline.probe" -}}
httpGet: { path: {{ .probe.path }}, port: http, scheme: {{ include "treeline.scheme" .root | upper }} }
initialDelaySeconds: {{ .probe.initialDelaySeconds }}
periodSeconds: {{ .probe.periodSeconds }}
timeoutSeconds: {{ .probe.timeoutSeconds }}
failureThreshold: {{ .probe.failureThreshold }}
{{- end -}}

{{/* Requests and limits, with GPUs where they are asked for. */}}
{{- define "treeline.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if dig "gpu" "enabled" false . -}}
{{- $limits := merge (dict) (default dict $resources.limits) (dict .gpu.resource .gpu.count) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- with $resources }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* dict root, key, component, args; isJob. The container that runs Treeline. */}}
{{- define "treeline.container" -}}
{{- $root := .root -}}
{{- $c := .component -}}
- name: {{ kebabcase .key }}
  image: {{ include "treeline.ownImage" (dict "root" $root "image" $c.image) }}
  imagePullPolicy: {{ coalesce $c.image.pullPolicy $root.Values.image.pullPolicy }}
  {{- with coalesce $c.command .command }}
  command: {{ toJson . }}
  {{- end }}
  args: {{ concat (default .args $c.args) $c.extraArgs | toJson }}
  {{- $env := deepCopy $c.env }}
  {{- if and (eq $c.autoscaling.type "keda") (ne $root.Values.kafka.sasl.mechanism "none") }}
  {{- /* KEDA takes the name from here, and the program the same one from its file. */}}
  {{- $_ := set $env "TREELINE_LOG_KAFKA_SASL_USERNAME" $root.Values.kafka.sasl.username }}
  {{- end }}
  {{- with include "treeline.env" $env }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "treeline.envFrom" . | trim }}
  envFrom:
    {{- . | nindent 4 }}
  {{- end }}
  {{- if not .isJob }}
  ports:
    - { name: http, containerPort: {{ $root.Values.containerPort }}, protocol: TCP }
    {{- with $root.Values.metricsPort }}
    - { name: metrics, containerPort: {{ . }}, protocol: TCP }
    {{- end }}
  {{- range $name := list "liveness" "readiness" "startup" }}
  {{- $probe := get $c.probes $name }}
  {{- if $probe.enabled }}
  {{ $name }}Probe:
    {{- include "treeline.probe" (dict "root" $root "probe" $probe) | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with include "treeline.resources" $c }}
  resources:
    {{- . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "treeline.securityContext" (dict "root" $root "context" $c.securityContext) | nindent 4 }}
  volumeMounts:
    {{- include "treeline.mounts" . | nindent 4 }}
{{- end -}}

{{/* Where pods go. dict root, key, component */}}
{{- define "treeline.placement" -}}
{{- $c := .component -}}
{{- $selector := include "treeline.selectorLabels" . | fromYaml -}}
{{- $gpu := default dict $c.gpu -}}
{{- with merge (dict) $c.nodeSelector (ternary (default dict $gpu.nodeSelector) dict (eq $gpu.enabled true)) }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := $c.tolerations }}
{{- if and (eq $gpu.enabled true) $gpu.tolerate }}
{{- $tolerations = append $tolerations (dict "key" $gpu.resource "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $affinity := dict }}
{{- $term := dict "labelSelector" (dict "matchLabels" $selector) "topologyKey" "kubernetes.io/hostname" }}
{{- if eq $c.antiAffinity "hard" }}
{{- $_ := set $affinity "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term)) }}
{{- else if eq $c.antiAffinity "soft" }}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term))) }}
{{- end }}
{{- with mergeOverwrite $affinity (deepCopy $c.affinity) }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $c.topologySpread.enabled }}
topologySpreadConstraints:
  - maxSkew: {{ $c.topologySpread.maxSkew }}
    topologyKey: {{ $c.topologySpread.topologyKey }}
    whenUnsatisfiable: {{ $c.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- toYaml $selector | nindent 8 }}
{{- end }}
{{- with coalesce $c.priorityClassName .root.Values.global.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $c.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $c.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- end -}}

{{/* dict root, key, component, args; data, command, isJob, before (init containers of the chart's own) */}}
{{- define "treeline.podSpec" -}}
{{- $root := .root -}}
{{- $c := .component -}}
serviceAccountName: {{ include "treeline.serviceAccountName" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "treeline.pullSecrets" $root }}
terminationGracePeriodSeconds: {{ $c.terminationGracePeriodSeconds }}
securityContext:
  {{- include "treeline.securityContext" (dict "root" $root "context" $c.podSecurityContext) | nindent 2 }}
{{- include "treeline.placement" . }}
{{- if or .before $c.initContainers }}
initContainers:
  {{- with .before }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $c.initContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
containers:
  {{- include "treeline.container" . | nindent 2 }}
  {{- with $c.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  {{- include "treeline.volumes" . | nindent 2 }}
{{- end -}}
