"""What every client library is asked to do with: a namespace, a definition of a kind, a pod that says something."""

from __future__ import annotations

from typing import Any

GROUP = "clients.example.org"
SPEAKER = "pack.stark/speaker:1.0.0"
SPEAKER_SOURCE = (
    "module.exports.default = async (c) => { console.log('hello from ' + process.env.HOSTNAME);"
    " console.log('bye'); await new Promise((r) => c.onShutdown(r)); };"
)


def definition(plural: str, kind: str) -> dict[str, Any]:
    """A CustomResourceDefinition of a namespaced kind with status and scale."""
    integer = {"type": "integer"}
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {"size": {**integer, "minimum": 0}, "colour": {**text, "default": "red"}},
            },
            "status": {
                "type": "object",
                "properties": {"replicas": integer, "selector": text},
                "x-kubernetes-preserve-unknown-fields": True,
            },
        },
    }
    scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": spec,
    }


def thing(kind: str, name: str, size: int = 1, **metadata: Any) -> dict[str, Any]:
    """An object of such a kind."""
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": {"size": size},
    }


def speaker(name: str, **metadata: Any) -> dict[str, Any]:
    """A pod that says two lines and waits."""
    container = {"name": "main", "image": SPEAKER}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def deployment(name: str, replicas: int = 0) -> dict[str, Any]:
    """A Deployment that says something, and runs nothing unless it is told to."""
    template = {"metadata": {"labels": {"app": name}}, "spec": speaker(name)["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }
