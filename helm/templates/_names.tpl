{{- /* Names, labels, and what kind of installation this is. */ -}}

{{- define "cordboard.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{- /* Short enough for what Kubernetes puts behind it. */ -}}
{{- define "cordboard.fullname" -}}
{{- $name := include "cordboard.name" . -}}
{{- $made := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $made | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{- /* "true" if several processes share the ledger. */ -}}
{{- define "cordboard.fleet" -}}
{{- if regexMatch "^postgres(ql)?://" (.Values.config.ledger | default "") }}true{{ end -}}
{{- end -}}

{{- /* What the pods that do the work are called; with another kind of ledger others, so that the old volume stays. */ -}}
{{- define "cordboard.worker" -}}
{{- include "cordboard.fullname" . }}{{ if include "cordboard.fleet" . }}-worker{{ end -}}
{{- end -}}

{{- define "cordboard.component" -}}
{{- if include "cordboard.fleet" . }}worker{{ else }}server{{ end -}}
{{- end -}}

{{- /* Given (dict "root" $ "component" "…"). */ -}}
{{- define "cordboard.selector" -}}
app.kubernetes.io/name: {{ include "cordboard.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "cordboard.labels" -}}
{{ include "cordboard.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cordboard.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "cordboard.port" -}}
{{- int ((.Values.config.http | default dict).port | default 8080) -}}
{{- end -}}
