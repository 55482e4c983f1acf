{{- /* What pods have in common. */ -}}

{{- /* Everything of a pod's spec beside its containers and volumes. Given (dict "root" $ "component" "…"). */ -}}
{{- define "cordboard.podSpec" -}}
{{- $values := .root.Values -}}
automountServiceAccountToken: false
{{- /* else Kubernetes would put variables of Services into the process that look like misspelt settings */}}
enableServiceLinks: false
{{- with $values.pods.serviceAccountName }}
serviceAccountName: {{ . | quote }}
{{- end }}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $key, $id := $values.security }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $key }}: {{ int $id }}
  {{- end }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $values.pods $key }}
{{ $key }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "cordboard.topologySpread" -}}
{{- with .root.Values.topologySpread.topologyKeys -}}
topologySpreadConstraints:
  {{- range . }}
  - topologyKey: {{ . | quote }}
    maxSkew: 1
    whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- include "cordboard.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* Labels and annotations of pods that read the configuration: another configuration, other pods. */ -}}
{{- define "cordboard.podMetadata" -}}
annotations:
  checksum/config: {{ include "cordboard.config" .root | sha256sum }}
  {{- with .root.Values.pods.annotations }}{{ toYaml . | nindent 2 }}{{ end }}
labels: {{- include "cordboard.selector" . | nindent 2 }}
  {{- with .root.Values.pods.labels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}

{{- /* The image, and what a container may do: the least. */ -}}
{{- define "cordboard.container" -}}
image: {{ include "cordboard.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Where a server tells how it is. A first try at the ledger, and SQLite's migrations, come before it listens. */ -}}
{{- define "cordboard.probes" -}}
ports:
  - name: http
    containerPort: {{ include "cordboard.port" . }}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 2
  failureThreshold: 300
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{- define "cordboard.mounts" -}}
- {name: config, mountPath: {{ include "cordboard.configFile" . | dir }}, readOnly: true}
{{- if .Values.files }}
- {name: files, mountPath: {{ include "cordboard.filesFolder" . }}, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- with .Values.pods.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cordboard.volumes" -}}
- name: config
  configMap: {name: {{ include "cordboard.fullname" . }}}
{{- with .Values.files }}
{{ include "cordboard.files" . }}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- with .Values.pods.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /*
Three waits of shutdown_seconds follow each other at the worst (intake, new calls, calls in flight), then messages are
told and connections closed. Mostly it is two seconds.
*/ -}}
{{- define "cordboard.grace" -}}
{{- $stop := (.Values.config.timing | default dict).shutdown_seconds | default 25 -}}
{{- .Values.pods.terminationGracePeriodSeconds | default (add 15 (mul 3 (ceil $stop))) -}}
{{- end -}}
