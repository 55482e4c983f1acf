{{- /* Rules of the network policies. */ -}}

{{- /* Ports that addresses name, or what is said for want of one. Given (dict "given" […] "in" […] "else" […]). */ -}}
{{- define "cordboard.ports" -}}
{{- $ports := .given | default list -}}
{{- if not $ports -}}
  {{- range $address := .in -}}
    {{- $found := regexFindAll ":[0-9]+(?:[,/]|$)" $address -1 -}}
    {{- range $found }}{{ $ports = append $ports (regexFind "[0-9]+" . | int) }}{{ end -}}
    {{- if not $found }}{{ $ports = append $ports $.else }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- range $index, $port := uniq $ports -}}
{{ if $index }}{{ "\n" }}{{ end }}- {port: {{ int $port }}, protocol: TCP}
{{- end -}}
{{- end -}}

{{- /* One rule of egress. Given (dict "to" […] "ports" "…"). */ -}}
{{- define "cordboard.egress" -}}
- {{ with .to }}to: {{- toYaml . | nindent 4 }}
  {{ end }}ports: {{- .ports | nindent 4 }}
{{- end -}}

{{- define "cordboard.egressDns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- define "cordboard.egressLedger" -}}
{{- with .Values.networkPolicy.ledger -}}
{{- $ports := include "cordboard.ports" (dict "given" .ports "in" (list (regexReplaceAll "^[^:]+://([^@/]*@)?([^/?]*).*$" $.Values.config.ledger "${2}")) "else" 5432) -}}
{{- include "cordboard.egress" (dict "to" .to "ports" $ports) -}}
{{- end -}}
{{- end -}}

{{- define "cordboard.egressKafka" -}}
{{- with .Values.networkPolicy.kafka -}}
{{- $ports := include "cordboard.ports" (dict "given" .ports "in" (list (($.Values.config.kafka | default dict).bootstrap_servers | default "")) "else" 9092) -}}
{{- include "cordboard.egress" (dict "to" .to "ports" $ports) -}}
{{- end -}}
{{- end -}}

{{- define "cordboard.egressVendors" -}}
{{- $addresses := list -}}
{{- range .Values.config.accounts -}}
  {{- $addresses = append $addresses (.base_url | default "") -}}
  {{- with .token_base_url }}{{ $addresses = append $addresses . }}{{ end -}}
{{- end -}}
{{- with .Values.networkPolicy.vendors -}}
{{- include "cordboard.egress" (dict "to" .to "ports" (include "cordboard.ports" (dict "given" .ports "in" $addresses "else" 443))) -}}
{{- end -}}
{{- end -}}

{{- define "cordboard.egressTraces" -}}
{{- with (.Values.config.traces | default dict).otlp_endpoint -}}
{{- $ports := include "cordboard.ports" (dict "given" $.Values.networkPolicy.traces.ports "in" (list .) "else" (hasPrefix "https" . | ternary 443 80)) -}}
{{- include "cordboard.egress" (dict "to" $.Values.networkPolicy.traces.to "ports" $ports) -}}
{{- end -}}
{{- end -}}

{{- /*
Who may come to the port. Where the API is served, naming its callers shuts everybody else out, figures or not.
Given (dict "policy" .Values.networkPolicy "api" whether it is served there).
*/ -}}
{{- define "cordboard.ingress" -}}
{{- $from := .policy.metricsFrom -}}
{{- if .api }}{{ $from = .policy.apiFrom | empty | ternary list (concat .policy.apiFrom .policy.metricsFrom) }}{{ end -}}
- {{ with $from }}from: {{- toYaml . | nindent 4 }}
  {{ end }}ports: [{port: http, protocol: TCP}]
{{- end -}}
