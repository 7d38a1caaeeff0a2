"""Definitions in CRD form for tests of the schema and wire documents: one kind of Kubernetes', one of a user's."""

from __future__ import annotations

from typing import Any

POD_TEMPLATE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "metadata": {
            "type": "object",
            "properties": {
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "creationTimestamp": {"type": "string", "format": "date-time"},
            },
        },
        "spec": {
            "type": "object",
            "description": "What the pods run.",
            "required": ["containers"],
            "properties": {
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "x-kubernetes-patch-merge-key": "name",
                    "x-kubernetes-patch-strategy": "merge",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string", "description": "Unique in the pod."},
                            "image": {"type": "string"},
                            "resources": {"type": "object", "default": {}, "properties": {}},
                            "ports": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["containerPort"],
                                    "properties": {
                                        "containerPort": {"type": "integer", "minimum": 1, "maximum": 65535},
                                        "protocol": {"type": "string", "enum": ["TCP", "UDP"], "default": "TCP"},
                                    },
                                },
                            },
                        },
                    },
                },
                "restartPolicy": {"type": "string", "enum": ["Always", "OnFailure", "Never"], "default": "Always"},
            },
        },
    },
}

DEPLOYMENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Keeps a number of equal pods.",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "description": "What is wanted.",
            "required": ["selector", "template"],
            "properties": {
                "replicas": {
                    "type": "integer",
                    "format": "int32",
                    "minimum": 0,
                    "default": 1,
                    "description": "Number of desired pods.",
                },
                "selector": {
                    "type": "object",
                    "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
                },
                "strategy": {
                    "type": "object",
                    "default": {},
                    "properties": {"type": {"type": "string", "default": "RollingUpdate"}},
                },
                "template": POD_TEMPLATE,
            },
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    },
}

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "deployments.apps"},
    "spec": {
        "group": "apps",
        "scope": "Namespaced",
        "names": {
            "kind": "Deployment",
            "plural": "deployments",
            "singular": "deployment",
            "shortNames": ["deploy"],
            "categories": ["all"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": DEPLOYMENT_SCHEMA},
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".spec.selector",
                    },
                },
            }
        ],
    },
}

POD: dict[str, Any] = {
    "metadata": {"name": "pods"},
    "spec": {
        "group": "",
        "scope": "Namespaced",
        "names": {"kind": "Pod", "plural": "pods", "shortNames": ["po"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": POD_TEMPLATE["properties"]["spec"],
                            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                        },
                    }
                },
                "subresources": {"status": {}, "log": {}, "binding": {}},
                "selectableFields": [{"jsonPath": ".spec.nodeName"}],
            }
        ],
    },
}

CRONTAB: dict[str, Any] = {
    "metadata": {"name": "crontabs.stable.example.com"},
    "spec": {
        "group": "stable.example.com",
        "scope": "Namespaced",
        "names": {"kind": "CronTab", "plural": "crontabs", "shortNames": ["ct"]},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": False,
                "deprecated": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            },
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "Runs something at times.",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "cronSpec": {
                                        "type": "string",
                                        "description": "The times.",
                                        "pattern": r"^(\S+\s?){5}$",
                                    },
                                    "replicas": {"type": "integer"},
                                },
                            }
                        },
                    }
                },
                "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            },
            {"name": "v1alpha1", "served": False, "storage": False},
        ],
    },
}
