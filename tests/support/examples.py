"""One example of every kind, with every field in use: what the models, the schemas and the API server must agree on."""

from __future__ import annotations

from typing import Any

TIME = "2026-01-02T03:04:05Z"
MICRO_TIME = "2026-01-02T03:04:05.678901Z"
SHA256 = "ab" * 32

METADATA: dict[str, Any] = {
    "name": "example",
    "generateName": "exam-",
    "namespace": "default",
    "uid": "6e1c9d4e-0000-4000-8000-000000000001",
    "resourceVersion": "7",
    "generation": 2,
    "creationTimestamp": TIME,
    "deletionTimestamp": TIME,
    "deletionGracePeriodSeconds": 30,
    "labels": {"app": "web"},
    "annotations": {"stark.dev/mode": "DaemonSet"},
    "ownerReferences": [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "web-1",
            "uid": "6e1c9d4e-0000-4000-8000-000000000002",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ],
    "finalizers": ["stark.dev/hold"],
    "managedFields": [
        {
            "manager": "kubectl",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": TIME,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {}},
            "subresource": "status",
        }
    ],
}
CLUSTER_METADATA = {"name": "example", "labels": {"app": "web"}}

CONDITION = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 2,
    "lastTransitionTime": TIME,
    "reason": "AllGood",
    "message": "all is good",
}
PROBE = {
    "exec": {"command": ["true"]},
    "httpGet": {
        "path": "/healthz",
        "port": "http",
        "host": "127.0.0.1",
        "scheme": "HTTPS",
        "httpHeaders": [{"name": "X-A", "value": "b"}],
    },
    "tcpSocket": {"port": 80, "host": "127.0.0.1"},
    "grpc": {"port": 80, "service": "web"},
    "initialDelaySeconds": 1,
    "periodSeconds": 2,
    "timeoutSeconds": 3,
    "successThreshold": 1,
    "failureThreshold": 5,
    "terminationGracePeriodSeconds": 6,
}
NODE_TERM = {
    "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}],
    "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-9"]}],
}
SELECTOR = {
    "matchLabels": {"app": "web"},
    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}],
}
POD_TERM = {
    "labelSelector": SELECTOR,
    "namespaces": ["default"],
    "topologyKey": "kubernetes.io/hostname",
    "namespaceSelector": SELECTOR,
    "matchLabelKeys": ["pod-template-hash"],
    "mismatchLabelKeys": ["tenant"],
}
POD_AFFINITY = {
    "requiredDuringSchedulingIgnoredDuringExecution": [POD_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "podAffinityTerm": POD_TERM}],
}
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [NODE_TERM]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "preference": NODE_TERM}],
    },
    "podAffinity": POD_AFFINITY,
    "podAntiAffinity": POD_AFFINITY,
}
SPREAD = [
    {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": SELECTOR,
        "minDomains": 2,
        "nodeAffinityPolicy": "Honor",
        "nodeTaintsPolicy": "Ignore",
        "matchLabelKeys": ["pod-template-hash"],
    }
]
KEY_ITEMS = [{"key": "k", "path": "conf/k", "mode": 256}]
POD_FILES = [
    {"path": "labels", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}, "mode": 292},
    {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
]
VOLUMES: list[dict[str, Any]] = [
    {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    {"name": "host", "hostPath": {"path": "/var/lib/web", "type": "DirectoryOrCreate"}},
    {"name": "conf", "configMap": {"name": "c", "items": KEY_ITEMS, "defaultMode": 420, "optional": True}},
    {"name": "keys", "secret": {"secretName": "s", "items": KEY_ITEMS, "defaultMode": 256, "optional": False}},
    {"name": "self", "downwardAPI": {"items": POD_FILES, "defaultMode": 420}},
    {
        "name": "all",
        "projected": {
            "defaultMode": 288,
            "sources": [
                {"configMap": {"name": "c", "items": KEY_ITEMS, "optional": True}},
                {"secret": {"name": "s", "items": KEY_ITEMS, "optional": True}},
                {"downwardAPI": {"items": POD_FILES}},
                {"serviceAccountToken": {"audience": "vault", "expirationSeconds": 600, "path": "token"}},
            ],
        },
    },
]
VOLUME_MOUNTS = [
    {"name": "conf", "mountPath": "/etc/web", "readOnly": True, "subPath": "conf", "mountPropagation": "None"},
    {"name": "scratch", "mountPath": "/scratch", "subPathExpr": "$(A)"},
]
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
LIFECYCLE_HANDLER = {key: PROBE[key] for key in ("exec", "httpGet", "tcpSocket")} | {"sleep": {"seconds": 5}}
CONTAINER: dict[str, Any] = {
    "name": "main",
    "image": "pack.stark/hello:1.2.0",
    "command": ["run"],
    "args": ["--fast"],
    "workingDir": "/srv",
    "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080, "protocol": "TCP"}],
    "env": [
        {"name": "A", "value": "b"},
        {"name": "B", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}},
        {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
        {
            "name": "E",
            "valueFrom": {"resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}},
        },
    ],
    "envFrom": [
        {"prefix": "P_", "configMapRef": {"name": "c", "optional": True}},
        {"secretRef": {"name": "s", "optional": True}},
    ],
    "resources": RESOURCES,
    "volumeMounts": VOLUME_MOUNTS,
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
    "startupProbe": PROBE,
    "stdin": True,
    "stdinOnce": True,
    "tty": True,
    "lifecycle": {"postStart": LIFECYCLE_HANDLER, "preStop": LIFECYCLE_HANDLER},
    "restartPolicy": "Always",
    "terminationMessagePath": "/srv/ended",
    "terminationMessagePolicy": "FallbackToLogsOnError",
    "imagePullPolicy": "IfNotPresent",
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["CHOWN"], "drop": ["ALL"]},
        "privileged": False,
        "seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/web.json"},
    },
}
POD_SPEC: dict[str, Any] = {
    "initContainers": [{**CONTAINER, "name": "first"}],
    "containers": [CONTAINER],
    "volumes": VOLUMES,
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "runAsNonRoot": True,
        "fsGroup": 2000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "supplementalGroups": [3000],
        "seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/web.json"},
    },
    "nodeName": "node-1",
    "schedulingGates": [{"name": "example.com/quota"}],
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "affinity": AFFINITY,
    "topologySpreadConstraints": SPREAD,
    "tolerations": [
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60},
        {"operator": "Exists"},
    ],
    "restartPolicy": "OnFailure",
    "terminationGracePeriodSeconds": 10,
    "activeDeadlineSeconds": 600,
    "priority": 100,
    "priorityClassName": "important",
    "preemptionPolicy": "Never",
    "schedulerName": "default-scheduler",
    "serviceAccountName": "default",
    "serviceAccount": "default",
    "automountServiceAccountToken": False,
    "imagePullSecrets": [{"name": "registry"}],
    "dnsPolicy": "ClusterFirst",
    "hostname": "web-0",
    "subdomain": "web",
}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD_SPEC}
CONTAINER_STATUS: dict[str, Any] = {
    "name": "main",
    "state": {"running": {"startedAt": TIME}},
    "lastState": {
        "terminated": {
            "exitCode": 137,
            "signal": 9,
            "reason": "OOMKilled",
            "message": "m",
            "startedAt": TIME,
            "finishedAt": TIME,
            "containerID": "stark://1",
        }
    },
    "ready": True,
    "restartCount": 1,
    "image": "pack.stark/hello:1.2.0",
    "imageID": f"hello@sha256:{SHA256}",
    "containerID": "stark://2",
    "started": True,
    "resources": RESOURCES,
}
REFERENCE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "namespace": "default",
    "name": "web",
    "uid": "6e1c9d4e-0000-4000-8000-000000000003",
    "resourceVersion": "5",
    "fieldPath": "spec.containers{main}",
}
SCALED = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
UTILIZATION = {"type": "Utilization", "averageUtilization": 60}
AVERAGE = {"type": "AverageValue", "averageValue": "100Mi"}
MEASURED = {"averageUtilization": 70, "averageValue": "70m"}
SCALING_RULES = {
    "stabilizationWindowSeconds": 60,
    "selectPolicy": "Min",
    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 30}],
    "tolerance": "50m",
}
JOB_SPEC = {
    "parallelism": 2,
    "completions": 3,
    "backoffLimit": 4,
    "backoffLimitPerIndex": 2,
    "maxFailedIndexes": 1,
    "successPolicy": {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]},
    "podFailurePolicy": {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]},
            },
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]
    },
    "podReplacementPolicy": "Failed",
    "activeDeadlineSeconds": 600,
    "ttlSecondsAfterFinished": 60,
    "suspend": True,
    "completionMode": "Indexed",
    "managedBy": "kubernetes.io/job-controller",
    "manualSelector": True,
    "selector": SELECTOR,
    "template": TEMPLATE,
}
CRD_NAMES = {
    "plural": "widgets",
    "singular": "widget",
    "shortNames": ["wd"],
    "kind": "Widget",
    "listKind": "WidgetList",
    "categories": ["all"],
}

WEBHOOK: dict[str, Any] = {
    "name": "policy.example.com",
    "clientConfig": {
        "url": "https://policy.example.com/check",
        "service": {"namespace": "default", "name": "policy", "path": "/check", "port": 8443},
        "caBundle": "QUFB",
    },
    "rules": [
        {
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }
    ],
    "failurePolicy": "Ignore",
    "matchPolicy": "Exact",
    "namespaceSelector": SELECTOR,
    "objectSelector": SELECTOR,
    "sideEffects": "None",
    "timeoutSeconds": 5,
    "admissionReviewVersions": ["v1"],
    "matchConditions": [{"name": "not-by-nodes", "expression": "!('system:nodes' in request.userInfo.groups)"}],
}
MATCH_RESOURCES: dict[str, Any] = {
    "namespaceSelector": SELECTOR,
    "objectSelector": SELECTOR,
    "resourceRules": [{**WEBHOOK["rules"][0], "resourceNames": ["web"]}],
    "excludeResourceRules": [{**WEBHOOK["rules"][0], "resourceNames": ["db"]}],
    "matchPolicy": "Exact",
}

_BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("v1", "Namespace"): {
        "metadata": CLUSTER_METADATA,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active", "conditions": [CONDITION]},
    },
    ("v1", "Node"): {
        "metadata": CLUSTER_METADATA,
        "spec": {
            "unschedulable": True,
            "taints": [{"key": "a", "value": "b", "effect": "NoExecute", "timeAdded": TIME}],
        },
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "3500m", "memory": "7Gi", "pods": "110"},
            "conditions": [{**CONDITION, "lastHeartbeatTime": TIME}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": "node-1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": "m",
                "systemUUID": "s",
                "bootID": "b",
                "kernelVersion": "6.8",
                "osImage": "Debian",
                "containerRuntimeVersion": "stark://0.1.0",
                "kubeletVersion": "v1.33.0",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    },
    ("v1", "Pod"): {
        "metadata": METADATA,
        "spec": POD_SPEC,
        "status": {
            "observedGeneration": 2,
            "phase": "Running",
            "conditions": [{**CONDITION, "lastProbeTime": TIME}],
            "message": "m",
            "reason": "r",
            "nominatedNodeName": "node-1",
            "hostIP": "10.0.0.1",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}],
            "startTime": TIME,
            "initContainerStatuses": [{**CONTAINER_STATUS, "name": "first"}],
            "containerStatuses": [CONTAINER_STATUS],
            "qosClass": "Burstable",
        },
    },
    ("v1", "ConfigMap"): {
        "metadata": METADATA,
        "immutable": True,
        "data": {"a": "b"},
        "binaryData": {"c": "AAE="},
    },
    ("v1", "Secret"): {
        "metadata": METADATA,
        "immutable": True,
        "data": {"a": "Yg=="},
        "stringData": {"c": "d"},
        "type": "Opaque",
    },
    ("v1", "ServiceAccount"): {
        "metadata": METADATA,
        "secrets": [{"name": "robot-token"}],
        "imagePullSecrets": [{"name": "registry"}],
        "automountServiceAccountToken": True,
    },
    ("v1", "Event"): {
        "metadata": METADATA,
        "involvedObject": REFERENCE,
        "reason": "Started",
        "message": "Started container main",
        "source": {"component": "agent", "host": "node-1"},
        "firstTimestamp": TIME,
        "lastTimestamp": TIME,
        "count": 3,
        "type": "Normal",
        "eventTime": MICRO_TIME,
        "series": {"count": 3, "lastObservedTime": MICRO_TIME},
        "action": "Start",
        "related": REFERENCE,
        "reportingComponent": "stark.dev/agent",
        "reportingInstance": "node-1",
    },
    ("events.k8s.io/v1", "Event"): {
        "metadata": METADATA,
        "eventTime": MICRO_TIME,
        "series": {"count": 3, "lastObservedTime": MICRO_TIME},
        "reportingController": "stark.dev/agent",
        "reportingInstance": "node-1",
        "action": "Start",
        "reason": "Started",
        "regarding": REFERENCE,
        "related": REFERENCE,
        "note": "Started container main",
        "type": "Normal",
        "deprecatedSource": {"component": "agent", "host": "node-1"},
        "deprecatedFirstTimestamp": TIME,
        "deprecatedLastTimestamp": TIME,
        "deprecatedCount": 3,
    },
    ("apps/v1", "Deployment"): {
        "metadata": METADATA,
        "spec": {
            "replicas": 3,
            "selector": SELECTOR,
            "template": TEMPLATE,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "50%"}},
            "minReadySeconds": 5,
            "revisionHistoryLimit": 3,
            "paused": True,
            "progressDeadlineSeconds": 120,
        },
        "status": {
            "observedGeneration": 2,
            "replicas": 3,
            "updatedReplicas": 3,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "unavailableReplicas": 1,
            "terminatingReplicas": 1,
            "conditions": [{**CONDITION, "lastUpdateTime": TIME}],
            "collisionCount": 1,
        },
    },
    ("apps/v1", "ReplicaSet"): {
        "metadata": METADATA,
        "spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE, "minReadySeconds": 5},
        "status": {
            "replicas": 3,
            "fullyLabeledReplicas": 3,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "terminatingReplicas": 1,
            "observedGeneration": 2,
            "conditions": [CONDITION],
        },
    },
    ("apps/v1", "DaemonSet"): {
        "metadata": METADATA,
        "spec": {
            "selector": SELECTOR,
            "template": TEMPLATE,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "minReadySeconds": 5,
            "revisionHistoryLimit": 4,
        },
        "status": {
            "currentNumberScheduled": 3,
            "numberMisscheduled": 1,
            "desiredNumberScheduled": 4,
            "numberReady": 2,
            "observedGeneration": 2,
            "updatedNumberScheduled": 3,
            "numberAvailable": 2,
            "numberUnavailable": 2,
        },
    },
    ("apps/v1", "StatefulSet"): {
        "metadata": METADATA,
        "spec": {
            "replicas": 3,
            "selector": SELECTOR,
            "template": TEMPLATE,
            "serviceName": "web",
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1, "maxUnavailable": "10%"}},
            "minReadySeconds": 5,
            "revisionHistoryLimit": 4,
            "ordinals": {"start": 2},
        },
        "status": {
            "observedGeneration": 2,
            "replicas": 3,
            "readyReplicas": 2,
            "currentReplicas": 2,
            "updatedReplicas": 1,
            "currentRevision": "web-1",
            "updateRevision": "web-2",
            "collisionCount": 1,
            "conditions": [CONDITION],
            "availableReplicas": 2,
        },
    },
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {
        "metadata": METADATA,
        "spec": {
            "scaleTargetRef": SCALED,
            "minReplicas": 2,
            "maxReplicas": 5,
            "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": UTILIZATION}},
                {"type": "Resource", "resource": {"name": "memory", "target": AVERAGE}},
                {
                    "type": "ContainerResource",
                    "containerResource": {"name": "cpu", "container": "main", "target": UTILIZATION},
                },
                {
                    "type": "ContainerResource",
                    "containerResource": {"name": "memory", "container": "main", "target": AVERAGE},
                },
            ],
            "behavior": {"scaleUp": SCALING_RULES, "scaleDown": SCALING_RULES},
        },
        "status": {
            "observedGeneration": 2,
            "lastScaleTime": TIME,
            "currentReplicas": 2,
            "desiredReplicas": 3,
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": MEASURED}},
                {
                    "type": "ContainerResource",
                    "containerResource": {"name": "memory", "container": "main", "current": MEASURED},
                },
            ],
            "conditions": [CONDITION],
        },
    },
    ("autoscaling/v1", "HorizontalPodAutoscaler"): {
        "metadata": METADATA,
        "spec": {
            "scaleTargetRef": SCALED,
            "minReplicas": 2,
            "maxReplicas": 5,
            "targetCPUUtilizationPercentage": 60,
        },
        "status": {
            "observedGeneration": 2,
            "lastScaleTime": TIME,
            "currentReplicas": 2,
            "desiredReplicas": 3,
            "currentCPUUtilizationPercentage": 70,
        },
    },
    ("apps/v1", "ControllerRevision"): {
        "metadata": METADATA,
        "data": {"spec": {"template": {"$patch": "replace"}}},
        "revision": 3,
    },
    ("batch/v1", "Job"): {
        "metadata": METADATA,
        "spec": JOB_SPEC,
        "status": {
            "conditions": [CONDITION],
            "startTime": TIME,
            "completionTime": TIME,
            "active": 1,
            "ready": 1,
            "terminating": 1,
            "succeeded": 2,
            "failed": 1,
            "failedIndexes": "1",
            "completedIndexes": "0,2",
            "uncountedTerminatedPods": {"succeeded": ["u1"], "failed": ["u2"]},
        },
    },
    ("batch/v1", "CronJob"): {
        "metadata": METADATA,
        "spec": {
            "schedule": "*/5 * * * *",
            "timeZone": "Europe/Berlin",
            "startingDeadlineSeconds": 30,
            "concurrencyPolicy": "Forbid",
            "suspend": True,
            "jobTemplate": {"metadata": METADATA, "spec": JOB_SPEC},
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 2,
        },
        "status": {"active": [REFERENCE], "lastScheduleTime": TIME, "lastSuccessfulTime": TIME},
    },
    ("coordination.k8s.io/v1", "Lease"): {
        "metadata": METADATA,
        "spec": {
            "holderIdentity": "node-1",
            "leaseDurationSeconds": 40,
            "acquireTime": MICRO_TIME,
            "renewTime": MICRO_TIME,
            "leaseTransitions": 1,
        },
    },
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "names": CRD_NAMES,
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "deprecated": True,
                    "deprecationWarning": "use v2",
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [
                        {
                            "name": "Size",
                            "type": "integer",
                            "format": "int32",
                            "description": "how large",
                            "priority": 1,
                            "jsonPath": ".spec.size",
                        }
                    ],
                    "selectableFields": [{"jsonPath": ".spec.size"}],
                }
            ],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": {
                        "url": "https://example.com",
                        "service": {"namespace": "a", "name": "b", "path": "/convert", "port": 8443},
                        "caBundle": "AAE=",
                    },
                    "conversionReviewVersions": ["v1"],
                },
            },
            "preserveUnknownFields": False,
        },
        "status": {
            "conditions": [CONDITION],
            "acceptedNames": CRD_NAMES,
            "storedVersions": ["v1"],
            "observedGeneration": 1,
        },
    },
    ("scheduling.k8s.io/v1", "PriorityClass"): {
        "metadata": {"name": "important"},
        "value": 100,
        "globalDefault": False,
        "description": "for what matters",
        "preemptionPolicy": "Never",
    },
    ("stark.dev/v1", "PodGroup"): {
        "metadata": METADATA,
        "spec": {"minMember": 3, "scheduleTimeoutSeconds": 60},
        "status": {
            "observedGeneration": 1,
            "phase": "Running",
            "members": 4,
            "scheduled": 4,
            "running": 3,
            "succeeded": 1,
            "failed": 1,
            "conditions": [CONDITION],
        },
    },
    ("rbac.authorization.k8s.io/v1", "Role"): {
        "metadata": {"name": "reader", "namespace": "default"},
        "rules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"], "resourceNames": ["web"]},
            {"verbs": ["get"], "nonResourceURLs": ["/metrics"]},
        ],
    },
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): {
        "metadata": {"name": "operators"},
        "aggregationRule": {
            "clusterRoleSelectors": [
                {
                    "matchLabels": {"to": "operators"},
                    "matchExpressions": [{"key": "to", "operator": "In", "values": ["operators"]}],
                }
            ]
        },
        "rules": [
            {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/healthz/*"]},
            {"verbs": ["*"], "apiGroups": ["apps", "*"], "resources": ["*/scale"], "resourceNames": ["web"]},
        ],
    },
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): {
        "metadata": {"name": "readers", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [
            {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice@example.org"},
            {"kind": "ServiceAccount", "name": "robot", "namespace": "default"},
        ],
    },
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): {
        "metadata": {"name": "operators"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "operators"},
        "subjects": [
            {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "operators"},
            {"kind": "ServiceAccount", "namespace": "default", "name": "robot"},
        ],
    },
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): {
        "metadata": {"name": "robots"},
        "spec": {
            "priorityLevelConfiguration": {"name": "small"},
            "matchingPrecedence": 500,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [
                {
                    "subjects": [
                        {"kind": "User", "user": {"name": "robot"}},
                        {"kind": "Group", "group": {"name": "robots"}},
                        {"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "*"}},
                    ],
                    "resourceRules": [
                        {
                            "verbs": ["get", "list"],
                            "apiGroups": [""],
                            "resources": ["pods"],
                            "clusterScope": True,
                            "namespaces": ["*"],
                        }
                    ],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/metrics", "/openapi/*"]}],
                }
            ],
        },
        "status": {"conditions": [CONDITION]},
    },
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"): {
        "metadata": {"name": "small"},
        "spec": {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 5,
                "limitResponse": {
                    "type": "Queue",
                    "queuing": {"queues": 16, "handSize": 4, "queueLengthLimit": 10},
                },
                "lendablePercent": 10,
                "borrowingLimitPercent": 50,
            },
            "exempt": {"nominalConcurrencyShares": 1, "lendablePercent": 50},
        },
        "status": {"conditions": [CONDITION]},
    },
    ("policy/v1", "PodDisruptionBudget"): {
        "metadata": METADATA,
        "spec": {
            "minAvailable": 1,
            "maxUnavailable": "50%",
            "selector": SELECTOR,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
        "status": {
            "observedGeneration": 1,
            "disruptedPods": {"web-0": TIME},
            "disruptionsAllowed": 1,
            "currentHealthy": 2,
            "desiredHealthy": 1,
            "expectedPods": 2,
            "conditions": [CONDITION],
        },
    },
    ("v1", "Service"): {
        "metadata": METADATA,
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "clusterIPs": ["None"],
            "sessionAffinity": "None",
            "selector": {"app": "web"},
            "ports": [
                {"name": "http", "protocol": "TCP", "appProtocol": "http", "port": 80, "targetPort": "http"},
            ],
            "publishNotReadyAddresses": True,
        },
        "status": {
            "loadBalancer": {"ingress": [{"ip": "192.0.2.1", "hostname": "web.example.com"}]},
            "conditions": [CONDITION],
        },
    },
    ("discovery.k8s.io/v1", "EndpointSlice"): {
        "metadata": METADATA,
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.0.0.1"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "hostname": "web-0",
                "nodeName": "node-1",
                "targetRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "namespace": "default",
                    "name": "web-0",
                    "uid": "u",
                    "resourceVersion": "1",
                    "fieldPath": "spec",
                },
                "zone": "z1",
            }
        ],
        "ports": [{"name": "http", "protocol": "TCP", "port": 20000, "appProtocol": "http"}],
    },
    ("v1", "LimitRange"): {
        "metadata": METADATA,
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "max": {"cpu": "2"},
                    "min": {"cpu": "10m"},
                    "default": {"cpu": "500m"},
                    "defaultRequest": {"cpu": "100m"},
                    "maxLimitRequestRatio": {"cpu": "10"},
                }
            ]
        },
    },
    ("v1", "ResourceQuota"): {
        "metadata": METADATA,
        "spec": {
            "hard": {"pods": "2"},
            "scopes": ["NotTerminating"],
            "scopeSelector": {
                "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["important"]}]
            },
        },
        "status": {"hard": {"pods": "2"}, "used": {"pods": "1"}},
    },
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): {
        "metadata": CLUSTER_METADATA,
        "webhooks": [{**WEBHOOK, "reinvocationPolicy": "IfNeeded"}],
    },
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): {
        "metadata": CLUSTER_METADATA,
        "webhooks": [WEBHOOK],
    },
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): {
        "metadata": CLUSTER_METADATA,
        "spec": {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": MATCH_RESOURCES,
            "validations": [
                {"expression": "true", "message": "m", "reason": "Forbidden", "messageExpression": "'m'"},
            ],
            "failurePolicy": "Ignore",
            "auditAnnotations": [{"key": "k", "valueExpression": "'v'"}],
            "matchConditions": [{"name": "n", "expression": "true"}],
            "variables": [{"name": "v", "expression": "1"}],
        },
        "status": {
            "observedGeneration": 1,
            "typeChecking": {"expressionWarnings": [{"fieldRef": "spec.validations[0].expression", "warning": "w"}]},
            "conditions": [CONDITION],
        },
    },
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): {
        "metadata": CLUSTER_METADATA,
        "spec": {
            "policyName": "p",
            "paramRef": {
                "name": "limit",
                "namespace": "default",
                "selector": SELECTOR,
                "parameterNotFoundAction": "Deny",
            },
            "matchResources": MATCH_RESOURCES,
            "validationActions": ["Deny", "Audit"],
        },
    },
    ("stark.dev/v1", "Pack"): {
        "metadata": {"name": "hello.1.2.0"},
        "spec": {
            "name": "hello",
            "version": "1.2.0",
            "runtime": "node",
            "visibility": "public",
            "description": "says hello",
            "deprecated": "use 1.2.1",
            "metadata": {"entrypoint": "main", "timeout": 1000, "env": {"A": "b"}, "team": {"name": "x"}},
            "bundles": [{"architecture": "any", "sha256": SHA256, "size": 12}],
            "signatures": [{"keyID": SHA256, "signature": "AAE="}],
        },
        "status": {"phase": "Available", "uploaded": [SHA256], "conditions": [CONDITION]},
    },
    ("stark.dev/v1", "PackTrustPolicy"): {
        "metadata": CLUSTER_METADATA,
        "spec": {
            "namespaceSelector": SELECTOR,
            "packs": ["hello", "web-*"],
            "keys": [{"name": "builder", "publicKey": "-----BEGIN PUBLIC KEY-----"}],
            "threshold": 1,
            "action": "Warn",
        },
    },
    ("stark.dev/v1", "User"): {
        "metadata": METADATA,
        "spec": {
            "email": "ada@example.com",
            "displayName": "Ada",
            "roles": ["user", "viewer"],
            "disabled": False,
        },
    },
    ("stark.dev/v1", "ClusterConfig"): {
        "metadata": METADATA,
        "spec": {
            "enablePublicRegistration": True,
            "maxPods": 100,
            "maxNodes": 10,
            "maxPodsPerNode": 20,
            "schedulingPolicy": "binpack",
            "enablePreemption": False,
            "schedulingWeights": {
                "leastAllocated": 0,
                "mostAllocated": 1,
                "balancedAllocation": 2,
                "bestFit": 3,
                "fewestPods": 4,
                "podTopologySpread": 5,
                "interPodAffinity": 6,
                "nodeAffinity": 7,
                "taintToleration": 8,
                "packPreference": 100,
            },
            "defaultTerminationGracePeriodSeconds": 10,
            "defaultIsolation": "process",
            "defaultResources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}},
            "nodeHeartbeatIntervalSeconds": 20,
            "nodeHeartbeatTimeoutSeconds": 60,
            "nodeSuspectSeconds": 45,
            "defaultTolerationSeconds": 60,
            "initialContainerRestartPeriodSeconds": 2,
            "maxContainerRestartPeriodSeconds": 60,
            "autoscalerPeriodSeconds": 5,
            "autoscalerScaleDownWindowSeconds": 60,
        },
    },
    ("stark.dev/v1", "Server"): {
        "metadata": CLUSTER_METADATA,
        "spec": {
            "architecture": "riscv64",
            "capacity": {"cpu": "64", "memory": "256Gi", "storage": "4Ti"},
            "cluster": "c",
            "zone": "z",
            "location": "l",
            "poolRef": "p",
        },
        "status": {
            "observedGeneration": 1,
            "phase": "Online",
            "nodeRefs": ["node-1"],
            "available": {"cpu": "32"},
            "conditions": [CONDITION],
        },
    },
    ("metrics.k8s.io/v1beta1", "NodeMetrics"): {
        "metadata": METADATA,
        "timestamp": TIME,
        "window": "10.003s",
        "usage": {"cpu": "250m", "memory": "1Gi"},
    },
    ("metrics.k8s.io/v1beta1", "PodMetrics"): {
        "metadata": METADATA,
        "timestamp": TIME,
        "window": "10.003s",
        "containers": [{"name": "main", "usage": {"cpu": "999151n", "memory": "7740Ki"}}],
    },
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): {
        "metadata": METADATA,
        "spec": {
            "request": "LS0t",
            "signerName": "kubernetes.io/kubelet-serving",
            "expirationSeconds": 3600,
            "usages": ["digital signature", "server auth"],
            "username": "system:node:n1",
            "uid": "7",
            "groups": ["system:nodes"],
            "extra": {"key": ["value"]},
        },
        "status": {"conditions": [{**CONDITION, "lastUpdateTime": TIME}], "certificate": "LS0t"},
    },
    ("stark.dev/v1", "CertificateRevocation"): {
        "metadata": METADATA,
        "spec": {"serialNumber": "1f", "username": "jane", "issuedBefore": TIME, "reason": "KeyCompromise"},
    },
    ("v1", "Binding"): {"metadata": METADATA, "target": REFERENCE},
    ("autoscaling/v1", "Scale"): {
        "metadata": METADATA,
        "spec": {"replicas": 3},
        "status": {"replicas": 2, "selector": "app=web"},
    },
    ("stark.dev/v1", "PodPlacement"): {
        "metadata": METADATA,
        "status": {
            "node": "n1",
            "schedulable": False,
            "chosen": "n1",
            "reason": "Unschedulable",
            "message": "0/2 nodes are available: 1 Insufficient cpu.",
            "nominated": "n2",
            "group": {"name": "default/g", "minMember": 3, "members": 2, "placed": 1},
            "preemption": {
                "node": "n2",
                "victims": [{"namespace": "default", "name": "low", "priority": 3}],
                "hidden": 1,
                "violations": 1,
            },
            "kept": [{"node": "n1", "pod": "default/urgent"}],
            "counts": {"nodes": 2, "fit": 1, "hidden": 0},
            "refusals": [{"rule": "NodeResourcesFit", "reason": "Insufficient cpu", "nodes": 1}],
            "nodes": [
                {"name": "n1", "fits": True, "points": 10_594, "scores": {"leastAllocated": 97}},
                {"name": "n2", "fits": False, "rule": "NodeResourcesFit", "reasons": ["Insufficient cpu"]},
            ],
        },
    },
}

EXAMPLES: dict[str, dict[str, Any]] = {
    kind: {"apiVersion": api_version, "kind": kind, **body} for (api_version, kind), body in reversed(_BODIES.items())
}
"""Kind -> an object in wire form; of two kinds of one name the first. Not sensible in every detail (a probe has all three
actions), but decodable."""


def example_of(api_version: str, kind: str) -> dict[str, Any]:
    """The object in wire form of a kind that may share its name."""
    return {"apiVersion": api_version, "kind": kind, **_BODIES[api_version, kind]}
