{{- define "prober.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "prober.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "prober.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "prober.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "prober.selectorLabels" -}}
app.kubernetes.io/name: {{ include "prober.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "prober.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "prober.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: prober
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The pod of `helm test` is none of the mesh: no selector may find it. */}}
{{- define "prober.testLabels" -}}
app.kubernetes.io/name: {{ include "prober.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What a zone's Deployment is called: dict "root" $ "zone" zone */}}
{{- define "prober.zoneName" -}}
{{- printf "%s-%s" (include "prober.fullname" .root) (.zone.name | lower | replace "_" "-" | replace "." "-") | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "prober.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "prober.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "prober.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "prober.seed" -}}
{{ include "prober.fullname" . }}-mesh.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:7946
{{- end -}}

{{- define "prober.gossipSecret" -}}
{{- default (printf "%s-gossip" (include "prober.fullname" .)) .Values.gossip.existingSecret -}}
{{- end -}}

{{- define "prober.looksUp" -}}
{{- if and (eq .Values.mode "nodes") (eq .Values.nodes.zoneFrom "lookup") -}}yes{{- end -}}
{{- end -}}

{{/* The configuration file, as an object in YAML. */}}
{{- define "prober.config" -}}
{{- $gossip := dict "join" (prepend .Values.gossip.join (include "prober.seed" .)) "label" (default .Release.Name .Values.gossip.label) -}}
{{- if .Values.gossip.encrypted -}}
{{- $_ := set $gossip "keys_file" "/etc/prober/gossip/gossip.keys" -}}
{{- end -}}
{{- if .Values.gossip.allow -}}
{{- $_ := set $gossip "allow" .Values.gossip.allow -}}
{{- end -}}
{{- $control := dict "listen" "unix:/run/prober/control.sock" -}}
{{- if .Values.control.allow -}}{{- $_ := set $control "allow" .Values.control.allow -}}{{- end -}}
{{- if .Values.control.ports -}}{{- $_ := set $control "ports" .Values.control.ports -}}{{- end -}}
{{- $config := dict
  "probe" (dict "cold_interval" .Values.probe.coldInterval "warm_interval" .Values.probe.warmInterval "timeout" .Values.probe.timeout "protocols" .Values.probe.protocols)
  "gossip" $gossip
  "control" $control
  "history" (dict "memory" .Values.history.memory)
  "log" (dict "format" .Values.logFormat) -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $config "tls" (dict "certificate" "/etc/prober/tls/tls.crt" "key" "/etc/prober/tls/tls.key" "ca" "/etc/prober/tls/ca.crt") -}}
{{- end -}}
{{- if .Values.targets -}}{{- $_ := set $config "targets" .Values.targets -}}{{- end -}}
{{- $config = mergeOverwrite $config (deepCopy (default dict .Values.extraConfig)) -}}
{{- $control = $config.control -}}
{{- if kindIs "map" $control -}}
{{- /* What YAML makes of off without quotes. */ -}}
{{- if eq (toString $control.listen) "false" -}}{{- $_ := set $control "listen" "off" -}}{{- end -}}
{{- /* An emptyDir may be written by every user; only this pod's is there.
Anywhere else the word would mean without TLS. */ -}}
{{- if and (hasPrefix "unix:/run/prober/" (toString $control.listen)) (not (hasKey $control "insecure")) -}}
{{- $_ := set $control "insecure" true -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The affinity of the values and, in a zone, that the node is of the zone.
Terms are alternatives, so each of them has to say it. */}}
{{- define "prober.affinity" -}}
{{- $affinity := deepCopy .root.Values.affinity -}}
{{- if and .zone .root.Values.zoneAffinity -}}
{{- $here := dict "key" .root.Values.zoneLabel "operator" "In" "values" (list .zone.name) -}}
{{- $required := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" "nodeSelectorTerms" (list (dict)) $affinity -}}
{{- $terms := list -}}
{{- range $required -}}
{{- $terms = append $terms (mergeOverwrite (deepCopy .) (dict "matchExpressions" (append (.matchExpressions | default list) $here))) -}}
{{- end -}}
{{- $affinity = mergeOverwrite $affinity (dict "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms))) -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

{{/* A pod: dict "root" $ "zone" (zone or nil) */}}
{{- define "prober.pod" -}}
{{- $ := .root -}}
{{- $zone := .zone -}}
metadata:
  labels:
    {{- include "prober.labels" $ | nindent 4 }}
    {{- if $zone }}
    prober/zone: {{ $zone.name | quote }}
    {{- end }}
    {{- with $.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "prober.config" $ | sha256sum }}
    {{- with $.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "prober.serviceAccountName" $ }}
  automountServiceAccountToken: {{ if include "prober.looksUp" $ }}true{{ else }}false{{ end }}
  # Variables that Kubernetes makes for services would look like ours.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $.Values.terminationGracePeriodSeconds }}
  {{- with $.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  {{- if include "prober.looksUp" $ }}
  initContainers:
    - name: zone
      image: {{ include "prober.image" $ }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args: [zone, --kubernetes, --output-dir, /run/prober-zone]
      env:
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
      resources:
        requests: {cpu: 10m, memory: 16Mi}
        limits: {memory: 64Mi}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: zone
          mountPath: /run/prober-zone
  {{- end }}
  containers:
    - name: prober
      image: {{ include "prober.image" $ }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args: [run, --config, /etc/prober/config/prober.yaml]
      env:
        - name: PROBER_NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- if $zone }}
        - name: PROBER_NODE_ZONE
          value: {{ $zone.name | quote }}
        {{- with $zone.region }}
        - name: PROBER_NODE_REGION
          value: {{ . | quote }}
        {{- end }}
        {{- else if include "prober.looksUp" $ }}
        - name: PROBER_NODE_ZONE_FILE
          value: /run/prober-zone/zone
        - name: PROBER_NODE_REGION_FILE
          value: /run/prober-zone/region
        {{- else }}
        - name: PROBER_NODE_ZONE
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['topology.kubernetes.io/zone']
        - name: PROBER_NODE_REGION
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['topology.kubernetes.io/region']
        {{- end }}
        {{- if $.Values.gossip.advertisePodIP }}
        - name: PROBER_GOSSIP_ADVERTISE
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        {{- end }}
        {{- with $.Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: probe, containerPort: 7443, protocol: TCP}
        - {name: gossip-tcp, containerPort: 7946, protocol: TCP}
        - {name: gossip-udp, containerPort: 7946, protocol: UDP}
        - {name: api, containerPort: 7070, protocol: TCP}
      startupProbe:
        httpGet: {path: /livez, port: api}
        periodSeconds: 1
        failureThreshold: 30
      livenessProbe:
        httpGet: {path: /livez, port: api}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: api}
        periodSeconds: 5
        timeoutSeconds: 5
      resources:
        {{- toYaml $.Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - {name: config, mountPath: /etc/prober/config, readOnly: true}
        - {name: run, mountPath: /run/prober}
        {{- if $.Values.gossip.encrypted }}
        - {name: gossip, mountPath: /etc/prober/gossip, readOnly: true}
        {{- end }}
        {{- if $.Values.tls.existingSecret }}
        - {name: tls, mountPath: /etc/prober/tls, readOnly: true}
        {{- end }}
        {{- if include "prober.looksUp" $ }}
        - {name: zone, mountPath: /run/prober-zone, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "prober.fullname" $ }}
    - name: run
      emptyDir:
        medium: Memory
        sizeLimit: 1Mi
    {{- if $.Values.gossip.encrypted }}
    - name: gossip
      secret:
        secretName: {{ include "prober.gossipSecret" $ }}
        defaultMode: 0440
    {{- end }}
    {{- if $.Values.tls.existingSecret }}
    - name: tls
      secret:
        secretName: {{ $.Values.tls.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- if include "prober.looksUp" $ }}
    - name: zone
      emptyDir:
        medium: Memory
        sizeLimit: 1Mi
    {{- end }}
  {{- with $.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "prober.affinity" . | fromYaml }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $zone }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "prober.selectorLabels" $ | nindent 10 }}
  {{- end }}
  {{- with $.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
