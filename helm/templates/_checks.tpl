{{- /*
What values.schema.json can't say well, or not at all. All that is wrong is told at once, each with its place.
*/ -}}

{{- define "cordboard.checks" -}}
{{- $faults := list -}}
{{- $config := .Values.config -}}
{{- $http := $config.http | default dict -}}
{{- if not ($config.kafka | default dict).bootstrap_servers -}}
{{- $faults = append $faults "config.kafka.bootstrap_servers: is needed, as broker-1:9092,broker-2:9092" -}}
{{- end -}}
{{- if ($config.kafka | default dict).group_instance_id -}}
{{- $faults = append $faults "config.kafka.group_instance_id: the chart gives each pod its own, leave it out" -}}
{{- end -}}
{{- if not $config.accounts -}}
{{- $faults = append $faults "config.accounts: none is configured, so every event would fail" -}}
{{- end -}}
{{- if not $http.tokens -}}
{{- $faults = append $faults "config.http.tokens: none is given, and without one the API answers on its own host alone; `cordboard token NAME --role operator` makes one and prints what belongs here" -}}
{{- end -}}
{{- if or (hasPrefix "127." ($http.host | default "127.0.0.1")) (has $http.host (list "localhost" "::1")) -}}
{{- $faults = append $faults "config.http.host: a loopback address is out of reach for probes and callers; 0.0.0.0 or :: is right in a pod" -}}
{{- end -}}
{{- if not (include "cordboard.fleet" .) -}}
  {{- if gt (int .Values.worker.replicas) 1 -}}
  {{- $faults = append $faults (printf "worker.replicas: %d, but a SQLite ledger has one process; for more name a PostgreSQL database in config.ledger" (int .Values.worker.replicas)) -}}
  {{- end -}}
  {{- if not (hasPrefix (printf "sqlite:///%s/" (include "cordboard.folder" .)) ($config.ledger | default "")) -}}
  {{- $faults = append $faults (printf "config.ledger: must be sqlite:///%s/cordboard.db, as only that folder outlives a pod, or postgresql://user@host/database" (include "cordboard.folder" .)) -}}
  {{- end -}}
{{- end -}}
{{- range $setting := keys .Values.files | sortAlpha -}}
  {{- $path := splitList "." $setting -}}
  {{- if and (eq (first $path) "accounts") (not (hasKey ($config.accounts | default dict) (index $path 1))) -}}
  {{- $faults = append $faults (printf "files.%s: no such account in config.accounts" $setting) -}}
  {{- end -}}
{{- end -}}
{{- range $fault := include "cordboard.inlineSecrets" (dict "at" $config "path" "config") | splitList "\n" | compact -}}
{{- $faults = append $faults $fault -}}
{{- end -}}
{{- range $variable := .Values.pods.env -}}
  {{- if and $variable.value (regexMatch "^CORDBOARD_(.*_)?(SECRET_KEY|APP_SECRET|PASSWORD|TOKEN)$" ($variable.name | upper)) -}}
  {{- $faults = append $faults (printf "pods.env.%s: a secret may not stand in values; name its Secret in files, or with valueFrom" $variable.name) -}}
  {{- end -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n\nthe values have %d fault(s), nothing was made:\n  %s\n" (len $faults) (join "\n  " $faults)) -}}
{{- end -}}
{{- end -}}

{{- /* What is said of secrets that stand in the configuration itself, a line for each; no value is repeated. */ -}}
{{- define "cordboard.inlineSecrets" -}}
{{- $path := .path -}}
{{- range $name, $value := .at -}}
  {{- $place := printf "%s.%s" $path $name -}}
  {{- if kindIs "map" $value -}}
    {{- if ne $place "config.http.tokens" }}{{ include "cordboard.inlineSecrets" (dict "at" $value "path" $place) }}{{ end -}}
  {{- else if and (has $name (list "app_secret" "client_secret" "ledger_password" "password" "secret_key" "token")) $value -}}
    {{- printf "%s: a secret may not stand in values; put it into a Secret and name that in files, under %s_file\n" $place (trimPrefix "config." $place) -}}
  {{- else if and (kindIs "string" $value) (regexMatch "://[^/?#]*:[^/?#]*@|[?&]password=" $value) -}}
    {{- printf "%s: an address may not carry a password; for the ledger's name its Secret in files, under ledger_password_file\n" $place -}}
  {{- end -}}
{{- end -}}
{{- end -}}
