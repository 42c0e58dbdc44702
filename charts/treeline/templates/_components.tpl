{{/* Which components there are, what each consists of, and what the chart derives from several values at once. */}}

{{- define "treeline.isService" -}}
{{- if eq .Values.workloadType "deployment" -}}true{{- end -}}
{{- end -}}

{{- define "treeline.isEdge" -}}
{{- if eq .Values.mode "edge" -}}true{{- end -}}
{{- end -}}

{{/* Keys of the components that run Treeline, with spaces between them. */}}
{{- define "treeline.components" -}}
{{- if include "treeline.isService" . -}}
{{- if include "treeline.isEdge" . -}}
edge
{{- else -}}
{{- $keys := list -}}
{{- range $key := list "receiver" "scorer" "api" "deepCheck" "inference" -}}
{{- if (get $.Values $key).enabled }}{{ $keys = append $keys $key }}{{ end -}}
{{- end -}}
{{- join " " $keys -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* dict root, key: `defaults` with what the component sets for itself, as YAML. */}}
{{- define "treeline.component" -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (get .root.Values .key)) | toYaml -}}
{{- end -}}

{{- define "treeline.partitions" -}}
{{- default (ternary 4 64 (eq .Values.mode "edge")) .Values.partitions -}}
{{- end -}}

{{- define "treeline.isDevelopmentKafka" -}}
{{- $enabled := .Values.kafka.development.enabled | toString -}}
{{- if and (include "treeline.isService" .) (not (include "treeline.isEdge" .)) (or (eq $enabled "true") (and (eq $enabled "auto") (not .Values.kafka.brokers))) -}}true{{- end -}}
{{- end -}}

{{- define "treeline.host" -}}
{{- printf "%s.%s.svc.%s" (include "treeline.componentName" .) .root.Release.Namespace .root.Values.global.clusterDomain -}}
{{- end -}}

{{- define "treeline.brokers" -}}
{{- if .Values.kafka.brokers -}}
{{- toJson .Values.kafka.brokers -}}
{{- else -}}
{{- list (printf "%s:9092" (include "treeline.host" (dict "root" . "key" "kafka"))) | toJson -}}
{{- end -}}
{{- end -}}

{{- define "treeline.hasRedis" -}}
{{- if and (not (include "treeline.isEdge" .)) (or .Values.redis.address .Values.redis.sentinels .Values.redis.development.enabled) -}}true{{- end -}}
{{- end -}}

{{/* Apis share it, and receivers that elect a replica of each Prometheus. */}}
{{- define "treeline.usesRedis" -}}
{{- $own := default dict (get (get .root.Values .key | default dict) "config") -}}
{{- $replicas := dig "ingest" "replicas" (dig "ingest" "replicas" "off" .root.Values.config) $own -}}
{{- if and (include "treeline.hasRedis" .root) (or (eq .key "api") (and (eq .key "receiver") (eq $replicas "elect"))) -}}true{{- end -}}
{{- end -}}

{{- define "treeline.isDevelopmentRedis" -}}
{{- if and (include "treeline.isService" .) (not (include "treeline.isEdge" .)) .Values.redis.development.enabled -}}true{{- end -}}
{{- end -}}

{{/* Secret with the certificates that Redis is trusted by. */}}
{{- define "treeline.redisTlsSecret" -}}
{{- if include "treeline.isDevelopmentRedis" . -}}
{{- .Values.redis.development.tls.existingSecret -}}
{{- else if .Values.redis.tls.enabled -}}
{{- .Values.redis.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Secret with the password of Redis, and its key; empty where there is none. */}}
{{- define "treeline.redisSecret" -}}
{{- if .Values.redis.existingSecret -}}
{{- .Values.redis.existingSecret -}}
{{- else if include "treeline.isDevelopmentRedis" . -}}
{{- include "treeline.componentName" (dict "root" . "key" "redis") -}}
{{- end -}}
{{- end -}}

{{/* Secret with the three tokens. */}}
{{- define "treeline.authSecret" -}}
{{- default (printf "%s-auth" (include "treeline.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}

{{- define "treeline.makesAuthSecret" -}}
{{- if and .Values.auth.enabled (not .Values.auth.existingSecret) (not .Values.auth.externalSecret.enabled) -}}true{{- end -}}
{{- end -}}

{{/*
Tokens of the Secret that the chart makes, as JSON: those given, else those of the cluster, else new ones. They are made
once in a rendering and remembered, so that the Secret and the checksums of pods speak of the same.
*/}}
{{- define "treeline.tokens" -}}
{{- if not (hasKey .Values "rememberedTokens") -}}
{{- $made := (lookup "v1" "Secret" .Release.Namespace (include "treeline.authSecret" .)).data | default dict -}}
{{- $tokens := dict -}}
{{- range $name := list "write" "read" "admin" -}}
{{- $key := get $.Values.auth (printf "%sKey" $name) -}}
{{- $given := get $.Values.auth (printf "%sToken" $name) -}}
{{- $old := get $made $key | default "" | b64dec -}}
{{- $_ := set $tokens $key (coalesce $given $old (randAlphaNum 40)) -}}
{{- end -}}
{{- $_ := set .Values "rememberedTokens" $tokens -}}
{{- end -}}
{{- toJson .Values.rememberedTokens -}}
{{- end -}}

{{- define "treeline.redisPassword" -}}
{{- if not (hasKey .Values "rememberedPassword") -}}
{{- $made := (lookup "v1" "Secret" .Release.Namespace (include "treeline.componentName" (dict "root" . "key" "redis"))).data | default dict -}}
{{- $old := get $made .Values.redis.passwordKey | default "" | b64dec -}}
{{- $_ := set .Values "rememberedPassword" (coalesce .Values.redis.development.password $old (randAlphaNum 40)) -}}
{{- end -}}
{{- .Values.rememberedPassword -}}
{{- end -}}

{{/* dict root, key: roles of a component, with commas between them. */}}
{{- define "treeline.roles" -}}
{{- if eq .key "edge" -}}
receiver,scorer,{{ ternary "deep-check," "" .root.Values.deepCheck.enabled }}api
{{- else if ne .key "jobs" -}}
{{- kebabcase .key -}}
{{- end -}}
{{- end -}}

{{- define "treeline.scheme" -}}
{{- ternary "https" "http" .Values.tls.enabled -}}
{{- end -}}

{{/* dict root, key: http://NAME.NAMESPACE.svc:PORT of the Service of a component */}}
{{- define "treeline.url" -}}
{{- $component := include "treeline.component" . | fromYaml -}}
{{- printf "%s://%s.%s.svc:%v" (include "treeline.scheme" .root) (include "treeline.componentName" .) .root.Release.Namespace $component.service.port -}}
{{- end -}}

{{/* The port that gauges and metrics are scraped from, and its name on pods and Services. */}}
{{- define "treeline.scrapePort" -}}
{{- default .Values.containerPort .Values.metricsPort -}}
{{- end -}}
{{- define "treeline.scrapePortName" -}}
{{- ternary "metrics" "http" (not (empty .Values.metricsPort)) -}}
{{- end -}}

{{/* Which component takes samples, and which one answers readers. */}}
{{- define "treeline.writer" -}}
{{- ternary "edge" "receiver" (eq .Values.mode "edge") -}}
{{- end -}}
{{- define "treeline.reader" -}}
{{- ternary "edge" "api" (eq .Values.mode "edge") -}}
{{- end -}}
{{- define "treeline.gauges" -}}
{{- ternary "edge" "scorer" (eq .Values.mode "edge") -}}
{{- end -}}
