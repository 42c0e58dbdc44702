{{/* Names and labels. No name is longer than 63 characters, and names of two releases never meet. */}}

{{- define "treeline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/*
At most 40 characters: a StatefulSet adds a hash of 10 to NAME-scorer in a label of its pods, and a CronJob's name ends at
52. What is cut off still tells releases apart.
*/}}
{{- define "treeline.fullname" -}}
{{- $name := include "treeline.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- if le (len $full) 40 -}}
{{- $full -}}
{{- else -}}
{{- printf "%s-%s" (trunc 31 $full | trimSuffix "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* dict root, key: deepCheck → NAME-deep-check */}}
{{- define "treeline.componentName" -}}
{{- printf "%s-%s" (include "treeline.fullname" .root) (kebabcase .key) -}}
{{- end -}}

{{- define "treeline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "treeline.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name | trunc 63 }}
{{- if .key }}
app.kubernetes.io/component: {{ kebabcase .key }}
{{- end }}
{{- end -}}

{{/* dict root, and key, where it belongs to a component */}}
{{- define "treeline.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{ include "treeline.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: treeline
{{- with .root.Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* dict root, name; key, labels, annotations where there are any */}}
{{- define "treeline.metadata" -}}
{{- $annotations := merge (dict) (default dict .annotations) .root.Values.global.commonAnnotations -}}
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "treeline.labels" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "treeline.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "treeline.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* dict root, image (registry, repository, tag, digest) */}}
{{- define "treeline.imageName" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry -}}
{{- $path := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $path .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path .image.tag -}}
{{- end -}}
{{- end -}}

{{/* dict root, image: parts of a component's own. The image of Treeline itself. */}}
{{- define "treeline.ownImage" -}}
{{- $image := mergeOverwrite (deepCopy .root.Values.image) (default dict .image) -}}
{{- $tag := coalesce .root.Values.global.version $image.tag .root.Chart.AppVersion -}}
{{- $suffix := ternary "-heavy" "" (eq $image.variant "heavy") -}}
{{- $_ := set $image "tag" (printf "%s%s" $tag $suffix) -}}
{{- include "treeline.imageName" (dict "root" .root "image" $image) -}}
{{- end -}}

{{- define "treeline.pullSecrets" -}}
{{- $names := concat .Values.global.imagePullSecrets .Values.image.pullSecrets | uniq -}}
{{- with $names }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* dict root, class */}}
{{- define "treeline.storageClass" -}}
{{- with coalesce .class .root.Values.global.storageClass -}}
storageClassName: {{ ternary (quote "") . (eq . "-") }}
{{- end -}}
{{- end -}}

{{/* Is this kind known to the cluster, or wanted although it is not? dict root, api */}}
{{- define "treeline.hasApi" -}}
{{- if or .root.Values.monitoring.force (.root.Capabilities.APIVersions.Has .api) -}}true{{- end -}}
{{- end -}}
