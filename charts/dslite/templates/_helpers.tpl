{{- define "dslite.name" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "dslite.labels" -}}
app.kubernetes.io/name: dslite-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "dslite.selector" -}}
app.kubernetes.io/name: dslite-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The Secret with the installation's key. */}}
{{- define "dslite.key" -}}
{{- .Values.operator.keySecretRef | default (printf "%s-key" (include "dslite.name" .)) -}}
{{- end }}

{{- define "dslite.image" -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end }}

{{/* Secrets that the operator has as folders; it says so itself when one is missing. */}}
{{- define "dslite.secrets" -}}
{{- $names := list }}
{{- range .Values.dns.zones }}
{{- with .tsigSecretRef }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- range .Values.dhcp.servers }}
{{- with .secretRef }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- uniq $names | toJson }}
{{- end }}

{{/* What the operator does in a namespace: it never reads a Secret by the API, it only makes those of its pools; other objects it lists and
     watches, ServiceMonitors it lists. Of namespaces, a Role lets it read its own. */}}
{{- define "dslite.rules" -}}
- {apiGroups: [dslite.dev], resources: [aftrpools], verbs: [list, watch, patch]}
- {apiGroups: [dslite.dev], resources: [b4groups], verbs: [list, watch]}
- {apiGroups: [dslite.dev], resources: [aftrpools/status, b4groups/status], verbs: [patch]}
- {apiGroups: [""], resources: [namespaces], verbs: [get]}
- {apiGroups: [""], resources: [configmaps], verbs: [list, watch, create, patch]}
- {apiGroups: [""], resources: [services], verbs: [list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [pods], verbs: [list, watch, patch]}
- {apiGroups: [""], resources: [secrets, events], verbs: [create]}
- {apiGroups: [apps], resources: [deployments], verbs: [list, watch, create, patch]}
- {apiGroups: [apps], resources: [statefulsets], verbs: [list, watch, create, patch, delete]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [list, watch, create, patch]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list, watch, create, patch, delete]}
- {apiGroups: [monitoring.coreos.com], resources: [servicemonitors], verbs: [list, create, patch, delete]}
{{- end }}
