{{/* The settings file of a component: what the chart knows, below what `config` and the component's own `config` say. */}}

{{- define "treeline.config" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $made := dict "listen" (printf "%s:%v" $v.listenHost $v.containerPort) "dataDir" "/data/treeline" -}}
{{- with include "treeline.roles" . }}{{ $_ := set $made "roles" (splitList "," .) }}{{ end -}}
{{- if and $v.metricsPort (ne .key "jobs") }}{{ $_ := set $made "listenMetrics" (printf "%s:%v" $v.listenHost $v.metricsPort) }}{{ end -}}
{{- $log := dict "partitions" (include "treeline.partitions" $root | int) -}}
{{- if include "treeline.isEdge" $root -}}
{{- $_ := set $log "kind" "embedded" -}}
{{- else -}}
{{- $_ := set $log "kind" "kafka" -}}
{{- $_ := set $log "prefix" (default $root.Release.Name $v.kafka.prefix) -}}
{{- $replication := ternary 1 (int $v.kafka.replication) (eq (include "treeline.isDevelopmentKafka" $root) "true") -}}
{{- $kafka := dict "brokers" (include "treeline.brokers" $root | fromJsonArray) "replication" $replication -}}
{{- if $v.kafka.tls.enabled -}}
{{- $tls := dict "mode" "on" -}}
{{- if $v.kafka.tls.existingSecret -}}
{{- if $v.kafka.tls.caKey }}{{ $_ := set $tls "caFile" (printf "/etc/treeline/kafka-tls/%s" $v.kafka.tls.caKey) }}{{ end -}}
{{- if $v.kafka.tls.certKey }}{{ $_ := set $tls "certFile" (printf "/etc/treeline/kafka-tls/%s" $v.kafka.tls.certKey) }}{{ end -}}
{{- if $v.kafka.tls.keyKey }}{{ $_ := set $tls "keyFile" (printf "/etc/treeline/kafka-tls/%s" $v.kafka.tls.keyKey) }}{{ end -}}
{{- end -}}
{{- $_ := set $kafka "tls" $tls -}}
{{- end -}}
{{- if ne $v.kafka.sasl.mechanism "none" -}}
{{- $_ := set $kafka "sasl" (dict "mechanism" $v.kafka.sasl.mechanism "username" $v.kafka.sasl.username "passwordFile" (printf "/etc/treeline/kafka-sasl/%s" $v.kafka.sasl.passwordKey)) -}}
{{- end -}}
{{- $_ := set $log "kafka" $kafka -}}
{{- if eq .key "api" -}}
{{- $scorers := printf "%s://%s:%v" (include "treeline.scheme" $root) (include "treeline.host" (dict "root" $root "key" "scorer")) $v.containerPort -}}
{{- $_ := set $made "api" (dict "scorers" (list $scorers)) -}}
{{- if $v.auth.enabled }}{{ $_ := set $made.api "scorersTokenFile" "/etc/treeline/auth/read" }}{{ end -}}
{{- else if has .key (list "scorer" "jobs") -}}
{{- $_ := set $made "checkpoint" (dict "store" $v.scorer.checkpointStore) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $made "log" $log -}}
{{- if $v.auth.enabled -}}
{{- $credentials := list (dict "name" "writer" "tokenFile" "/etc/treeline/auth/write" "allow" (list "write")) -}}
{{- $credentials = append $credentials (dict "name" "reader" "tokenFile" "/etc/treeline/auth/read" "allow" (list "read")) -}}
{{- $credentials = append $credentials (dict "name" "operator" "tokenFile" "/etc/treeline/auth/admin" "allow" (list "read" "admin")) -}}
{{- $_ := set $made "auth" (dict "credentials" (concat $credentials $v.auth.credentials)) -}}
{{- if $v.auth.open }}{{ $_ := set $made.auth "open" $v.auth.open }}{{ end -}}
{{- else -}}
{{- $_ := set $made "auth" (dict "mode" "none") -}}
{{- end -}}
{{- if $v.tls.enabled -}}
{{- $_ := set $made "tls" (dict "certFile" (printf "/etc/treeline/tls/%s" $v.tls.certKey) "keyFile" (printf "/etc/treeline/tls/%s" $v.tls.keyKey)) -}}
{{- end -}}
{{- if include "treeline.usesRedis" . }}{{ $_ := set $made "redis" (include "treeline.configRedis" $root | fromYaml) }}{{ end -}}
{{- if and $v.deepCheck.enabled (has .key (list "scorer" "api")) }}{{ $_ := set $made "verdicts" "on" }}{{ end -}}
{{- $deep := include "treeline.configDeepCheck" $root | fromYaml -}}
{{- $own := dict -}}
{{- if hasKey $v .key }}{{ $own = get $v .key }}{{ end -}}
{{- if and $deep (has .key (list "deepCheck" "inference" "edge")) -}}
{{- if ne (dig "model" "source" "image" $own) "image" }}{{ $_ := set $deep "model" (printf "/models/%s" $own.model.file) }}{{ end -}}
{{- $_ := set $made "deepCheck" $deep -}}
{{- end -}}
{{- $_ := set $made "logging" (dict "format" "json") -}}
{{- mergeOverwrite $made (deepCopy $v.config) (deepCopy (default dict $own.config)) | toYaml -}}
{{- end -}}

{{- define "treeline.configRedis" -}}
{{- if include "treeline.hasRedis" . -}}
{{- $r := .Values.redis -}}
{{- $isDevelopment := include "treeline.isDevelopmentRedis" . -}}
prefix: {{ default .Release.Name $r.prefix }}
{{- if $isDevelopment }}
address: {{ include "treeline.host" (dict "root" . "key" "redis") }}:6379
{{- else if $r.sentinels }}
sentinels: {{ toJson $r.sentinels }}
master: {{ $r.master }}
{{- else }}
address: {{ $r.address }}
{{- end }}
{{- with $r.username }}
username: {{ . }}
{{- end }}
{{- if include "treeline.redisSecret" . }}
passwordFile: /etc/treeline/redis/{{ $r.passwordKey }}
{{- end }}
{{- $trusted := include "treeline.redisTlsSecret" . }}
{{- if or $trusted $r.tls.enabled }}
tls:
  mode: "on"
  {{- if $trusted }}
  caFile: /etc/treeline/redis-tls/{{ ternary $r.development.tls.caKey $r.tls.caKey (eq $isDevelopment "true") }}
  {{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "treeline.configDeepCheck" -}}
{{- $d := .Values.deepCheck -}}
{{- if or $d.enabled (and .Values.inference.enabled (not (include "treeline.isEdge" .))) -}}
runtime: {{ $d.runtime }}
{{- if eq $d.runtime "remote" }}
remote: {{ default (include "treeline.url" (dict "root" . "key" "inference")) $d.remoteUrl }}
{{- if and .Values.auth.enabled (not $d.remoteUrl) }}
remoteTokenFile: /etc/treeline/auth/read
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}
