{{/* What the schema cannot say: values that do not fit together. Each sentence names the key, the reason and the way out. */}}

{{/* dict key, value: a secret that everybody knows is none. */}}
{{- define "treeline.refusePlaceholder" -}}
{{- $value := .value | toString -}}
{{- if $value -}}
{{- if regexMatch "(?i)change.?me|placeholder|example|insert.?here|your[-_ ]?|^(secret|password|token|admin|treeline|test)$|^x+$|^<.*>$|todo" $value -}}
{{- fail (printf "%s: this looks like a placeholder; leave it empty to have one made, or make one with: openssl rand -hex 24" .key) -}}
{{- end -}}
{{- if lt (len $value) (int (default 1 .least)) -}}
{{- fail (printf "%s: %d characters are too short for a secret, at least %d are wanted; make one with: openssl rand -hex 24" .key (len $value) (int .least)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "treeline.validate" -}}
{{- $v := .Values -}}
{{- range $name := list "writeToken" "readToken" "adminToken" -}}
{{- include "treeline.refusePlaceholder" (dict "key" (printf "auth.%s" $name) "value" (get $v.auth $name) "least" 16) -}}
{{- end -}}
{{- include "treeline.refusePlaceholder" (dict "key" "redis.development.password" "value" $v.redis.development.password "least" 16) -}}
{{- range $key, $value := $v.secretEnv.stringData -}}
{{- include "treeline.refusePlaceholder" (dict "key" (printf "secretEnv.stringData.%s" $key) "value" $value) -}}
{{- end -}}
{{- if eq (int $v.metricsPort) (int $v.containerPort) -}}
{{- fail (printf "metricsPort: containerPort is %v, too; name another one, or null to serve metrics there" $v.containerPort) -}}
{{- end -}}
{{- if and $v.networkPolicy.metricsFrom (not $v.metricsPort) -}}
{{- fail "networkPolicy.metricsFrom: metricsPort is null, and whoever may scrape may reach everything else; set metricsPort" -}}
{{- end -}}
{{- range $key := list "receiver" "scorer" "api" "deepCheck" "inference" "edge" -}}
{{- $port := ((include "treeline.component" (dict "root" $ "key" $key)) | fromYaml).service.port -}}
{{- if and $v.metricsPort (eq (int $port) (int $v.metricsPort)) -}}
{{- fail (printf "%s.service.port: metricsPort is %v, too; a Service has each port once" $key $port) -}}
{{- end -}}
{{- end -}}
{{- if and $v.secretEnv.create $v.secretEnv.existingSecret -}}
{{- fail "secretEnv.create: secretEnv.existingSecret names a Secret already; set one of them" -}}
{{- end -}}
{{- if and $v.auth.existingSecret $v.auth.externalSecret.enabled -}}
{{- fail "auth.externalSecret.enabled: auth.existingSecret names a Secret already; set one of them" -}}
{{- end -}}
{{- if and $v.auth.externalSecret.enabled (not (and $v.auth.externalSecret.storeName $v.auth.externalSecret.remoteKey)) -}}
{{- fail "auth.externalSecret: name storeName and remoteKey, where the three tokens are" -}}
{{- end -}}
{{- if and $v.tls.enabled (not $v.tls.existingSecret) -}}
{{- fail "tls.existingSecret: name the Secret with certificate and key, as tls.enabled wants them" -}}
{{- end -}}
{{- range $key, $tag := dict "image.tag" $v.image.tag "global.version" $v.global.version "kafka.development.image.tag" $v.kafka.development.image.tag "redis.development.image.tag" $v.redis.development.image.tag -}}
{{- if hasPrefix "latest" $tag -}}
{{- fail (printf "%s: %s is another image tomorrow; name a version" $key $tag) -}}
{{- end -}}
{{- end -}}
{{- if and (dig "log" "partitions" 0 $v.config) $v.partitions (ne (int (dig "log" "partitions" 0 $v.config)) (int $v.partitions)) -}}
{{- fail (printf "partitions: %v here and %v in config.log.partitions; there is one number, set it in partitions" $v.partitions (dig "log" "partitions" 0 $v.config)) -}}
{{- end -}}
{{- if and (dig "log" "partitions" 0 $v.config) (not $v.partitions) -}}
{{- fail (printf "config.log.partitions: set partitions: %v instead; the chart needs the number itself" (dig "log" "partitions" 0 $v.config)) -}}
{{- end -}}
{{- if and (include "treeline.isService" .) (not (include "treeline.isEdge" .)) -}}
{{- include "treeline.validateCluster" . -}}
{{- end -}}
{{- include "treeline.validateComponents" . -}}
{{- include "treeline.validateJobs" . -}}
{{- include "treeline.validateRoutes" . -}}
{{- end -}}

{{- define "treeline.validateCluster" -}}
{{- $v := .Values -}}
{{- $partitions := include "treeline.partitions" . | int -}}
{{- if and (eq ($v.kafka.development.enabled | toString) "true") $v.kafka.brokers -}}
{{- fail "kafka.development.enabled: kafka.brokers names brokers already; set one of them" -}}
{{- end -}}
{{- if and (not (include "treeline.isDevelopmentKafka" .)) (not $v.kafka.brokers) -}}
{{- fail "kafka.brokers: name brokers, set kafka.development.enabled, or use mode: edge, which needs none" -}}
{{- end -}}
{{- if and (ne $v.kafka.sasl.mechanism "none") (not (and $v.kafka.sasl.username $v.kafka.sasl.existingSecret)) -}}
{{- fail "kafka.sasl: a mechanism needs username and existingSecret with the password" -}}
{{- end -}}
{{- if and (eq $v.kafka.sasl.mechanism "none") $v.kafka.sasl.username -}}
{{- fail "kafka.sasl.username: set kafka.sasl.mechanism, without it nobody is told the name" -}}
{{- end -}}
{{- if and (include "treeline.isDevelopmentKafka" .) (or $v.kafka.tls.enabled (ne $v.kafka.sasl.mechanism "none")) -}}
{{- fail "kafka.tls, kafka.sasl: the development Kafka speaks neither; name kafka.brokers" -}}
{{- end -}}
{{- if and $v.kafka.tls.certKey (not $v.kafka.tls.keyKey) -}}
{{- fail "kafka.tls.keyKey: a certificate needs its private key" -}}
{{- end -}}
{{- if and $v.scorer.enabled (eq ((include "treeline.component" (dict "root" . "key" "scorer") | fromYaml).autoscaling.type) "none") (gt (int $v.scorer.replicas) $partitions) -}}
{{- fail (printf "scorer.replicas: %v pods share %d partitions; the others would do nothing. Lower it; partitions are fixed for the life of a log" $v.scorer.replicas $partitions) -}}
{{- end -}}
{{- if and $v.api.enabled (gt (int $v.api.replicas) 1) (not (include "treeline.hasRedis" .)) -}}
{{- fail "api.replicas: more than one needs a Redis that they share; set redis.address, redis.sentinels or redis.development.enabled" -}}
{{- end -}}
{{- if and (eq $v.scorer.checkpointStore "volume") (not $v.scorer.persistence.enabled) -}}
{{- fail "scorer.persistence.enabled: with scorer.checkpointStore: volume what was learnt lies there; enable it, or set topic" -}}
{{- end -}}
{{- if and $v.redis.address $v.redis.sentinels -}}
{{- fail "redis.address: redis.sentinels is set too; set one of them" -}}
{{- end -}}
{{- if and $v.redis.development.enabled (or $v.redis.address $v.redis.sentinels) -}}
{{- fail "redis.development.enabled: redis.address or redis.sentinels names one already; set one of them" -}}
{{- end -}}
{{- if and $v.redis.tls.existingSecret (not $v.redis.tls.enabled) -}}
{{- fail "redis.tls.enabled: certificates mean nothing while it is false" -}}
{{- end -}}
{{- if and $v.deepCheck.enabled (eq $v.deepCheck.runtime "remote") (not $v.inference.enabled) (not $v.deepCheck.remoteUrl) -}}
{{- fail "deepCheck.runtime: remote needs inference.enabled or deepCheck.remoteUrl" -}}
{{- end -}}
{{- if and $v.deepCheck.enabled (eq $v.deepCheck.runtime "native") (ne (coalesce (dig "image" "variant" "" $v.deepCheck) $v.image.variant) "heavy") -}}
{{- fail "deepCheck.runtime: native needs deepCheck.image.variant: heavy; light has no ONNX Runtime" -}}
{{- end -}}
{{- end -}}

{{- define "treeline.validateComponents" -}}
{{- $root := . -}}
{{- $partitions := include "treeline.partitions" . | int -}}
{{- range $key := splitList " " (include "treeline.components" .) -}}
{{- if $key -}}
{{- $c := include "treeline.component" (dict "root" $root "key" $key) | fromYaml -}}
{{- $a := $c.autoscaling -}}
{{- if and (has $key (list "receiver" "scorer" "api")) (eq (dig "image" "variant" "" $c) "heavy") -}}
{{- fail (printf "%s.image.variant: heavy adds ONNX Runtime, which this component never uses; leave it light" $key) -}}
{{- end -}}
{{- if hasPrefix "latest" (dig "image" "tag" "" $c) -}}
{{- fail (printf "%s.image.tag: %s is another image tomorrow; name a version" $key $c.image.tag) -}}
{{- end -}}
{{- if ne $a.type "none" -}}
{{- if has $key (list "api" "edge") -}}
{{- fail (printf "%s.autoscaling.type: %s is not scaled; set none" $key $key) -}}
{{- end -}}
{{- if gt (int $a.minReplicas) (int $a.maxReplicas) -}}
{{- fail (printf "%s.autoscaling.minReplicas: %v is more than maxReplicas, %v" $key $a.minReplicas $a.maxReplicas) -}}
{{- end -}}
{{- if and (has $key (list "scorer" "deepCheck")) (gt (int $a.maxReplicas) $partitions) -}}
{{- fail (printf "%s.autoscaling.maxReplicas: %v pods cannot share %d partitions; at most %d" $key $a.maxReplicas $partitions $partitions) -}}
{{- end -}}
{{- if and (eq $key "scorer") (eq $root.Values.scorer.checkpointStore "volume") -}}
{{- fail "scorer.checkpointStore: with autoscaling partitions move between pods, and a volume stays; set topic" -}}
{{- end -}}
{{- if and (eq $a.type "hpa") (not (or $a.cpu $a.memory $a.metrics)) -}}
{{- fail (printf "%s.autoscaling: an HPA needs cpu, memory or metrics to look at" $key) -}}
{{- end -}}
{{- if and (eq $a.type "hpa") (lt (int $a.minReplicas) 1) -}}
{{- fail (printf "%s.autoscaling.minReplicas: an HPA keeps at least one; KEDA may scale to zero" $key) -}}
{{- end -}}
{{- if and (eq $a.type "keda") (not (has $key (list "scorer" "deepCheck"))) (not $a.metrics) -}}
{{- fail (printf "%s.autoscaling.metrics: %s has no lag; give KEDA triggers of its own, or use hpa" $key $key) -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $c "model") (ne (dig "model" "source" "image" $c) "image") (not $c.model.name) -}}
{{- fail (printf "%s.model.name: name the %s that has the model" $key $c.model.source) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "treeline.validateRoutes" -}}
{{- $v := .Values -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- fail "ingress.hosts: name at least one" -}}
{{- end -}}
{{- if and $v.ingress.enabled (not (include "treeline.isService" .)) -}}
{{- fail "ingress.enabled: a job answers nobody; set workloadType: deployment" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: name at least one Gateway" -}}
{{- end -}}
{{- if and $v.monitoring.serviceMonitor.enabled $v.monitoring.podMonitor.enabled -}}
{{- fail "monitoring.podMonitor.enabled: serviceMonitor is enabled too, everything would be scraped twice; set one of them" -}}
{{- end -}}
{{- end -}}
