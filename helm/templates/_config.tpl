{{- /* Cordboard's configuration: what the values say, and the paths of the files that the pods mount. */ -}}

{{- define "cordboard.folder" -}}/var/lib/cordboard{{- end -}}
{{- define "cordboard.configFile" -}}/etc/cordboard/config/cordboard.yaml{{- end -}}
{{- define "cordboard.filesFolder" -}}/etc/cordboard/files{{- end -}}

{{- define "cordboard.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- range $setting := keys .Values.files -}}
  {{- $at := $config -}}
  {{- $path := splitList "." $setting -}}
  {{- range $part := initial $path -}}
    {{- if not (hasKey $at $part) }}{{ $_ := set $at $part dict }}{{ end -}}
    {{- $at = get $at $part -}}
  {{- end -}}
  {{- $_ := set $at (last $path) (printf "%s/%s" (include "cordboard.filesFolder" $) $setting) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* The sources of the volume with files. Given a mapping of settings. Only owner and group may read them. */ -}}
{{- define "cordboard.files" -}}
- name: files
  projected:
    defaultMode: 0440
    sources:
    {{- range $setting, $file := . }}
      - {{ if $file.existingSecret }}secret{{ else }}configMap{{ end }}:
          name: {{ $file.existingSecret | default $file.existingConfigMap | quote }}
          items: [{key: {{ $file.key | quote }}, path: {{ $setting | quote }}}]
    {{- end }}
{{- end -}}
