"""Which volumes and mounts are invalid, where, and in Kubernetes' words; who may reach into the files of a node."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.errors import Forbidden
from tests.support.server_side import Objects

from .test_admission_validation import complaints, container, pod

V = "spec.volumes[0]"
LEVEL = "pod-security.kubernetes.io/enforce"


@pytest.fixture
def objects() -> Objects:
    objects = Objects()
    objects.add("", "namespaces", {"metadata": {"name": "default"}})
    return objects


def volume(**source: Any) -> dict[str, Any]:
    return pod(volumes=[{"name": "v", **source}])


def mounted(*mounts: dict[str, Any]) -> dict[str, Any]:
    return pod(container(volumeMounts=list(mounts)), volumes=[{"name": "v"}])


def told(**item: Any) -> dict[str, Any]:
    return volume(downwardAPI={"items": [{"path": "p", **item}]})


def projected(*sources: dict[str, Any]) -> dict[str, Any]:
    return volume(projected={"sources": list(sources)})


def amount(resource: str, divisor: str) -> dict[str, Any]:
    return told(resourceFieldRef={"containerName": "c", "resource": resource, "divisor": divisor})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (pod(volumes=[{"emptyDir": {}}]), f"{V}.name: Required value"),
        (pod(volumes=[{"name": "v"}, {"name": "v"}]), 'spec.volumes[1].name: Duplicate value: "v"'),
        (
            volume(emptyDir={}, configMap={"name": "c"}),
            f"{V}.configMap: Forbidden: may not specify more than 1 volume type",
        ),
        (
            volume(emptyDir={"sizeLimit": "-1"}),
            f"{V}.emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (volume(hostPath={"path": ""}), f"{V}.hostPath.path: Required value"),
        (volume(hostPath={"path": "/a/../b"}), f"{V}.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"),
        (volume(configMap={}), f"{V}.configMap.name: Required value"),
        (volume(secret={}), f"{V}.secret.secretName: Required value"),
        (
            volume(secret={"secretName": "s", "defaultMode": 512}),
            f"{V}.secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            volume(configMap={"name": "c", "items": [{"key": "", "path": "p"}]}),
            f"{V}.configMap.items[0].key: Required value",
        ),
        (
            volume(configMap={"name": "c", "items": [{"key": "k", "path": "/p"}]}),
            f'{V}.configMap.items[0].path: Invalid value: "/p": must be a relative path',
        ),
        (
            volume(configMap={"name": "c", "items": [{"key": "k", "path": "..p"}]}),
            f"{V}.configMap.items[0].path: Invalid value: \"..p\": must not start with '..'",
        ),
        (told(), f"{V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"),
        (
            told(fieldRef={"fieldPath": "status.podIP"}),
            (
                f'{V}.downwardAPI.fieldRef.fieldPath: Unsupported value: "status.podIP": supported values: '
                '"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"'
            ),
        ),
        (
            told(fieldRef={"fieldPath": "spec.magic"}),
            (
                f'{V}.downwardAPI.fieldRef.fieldPath: Invalid value: "spec.magic": error converting fieldPath: '
                "field label not supported: spec.magic"
            ),
        ),
        (
            amount("limits.cpu", "2"),
            (
                f'{V}.downwardAPI.resourceFieldRef.divisor: Invalid value: "2": only divisor\'s values 1m and 1 are '
                "supported with the cpu resource"
            ),
        ),
        (
            told(resourceFieldRef={"resource": "limits.cpu"}),
            f"{V}.downwardAPI.resourceFieldRef.containerName: Required value",
        ),
        (
            projected({"serviceAccountToken": {"path": "t", "expirationSeconds": 599}}),
            (
                f"{V}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a "
                "duration less than 10 minutes"
            ),
        ),
        (
            projected({"secret": {"name": "s"}, "configMap": {"name": "c"}}),
            f"{V}.projected.sources[0].configMap: Forbidden: may not specify more than 1 volume type per source",
        ),
        (
            projected({"serviceAccountToken": {"path": "t"}}, {"serviceAccountToken": {"path": "t"}}),
            f'{V}.projected: Invalid value: "t": conflicting duplicate paths',
        ),
        (mounted({"name": "w", "mountPath": "/a"}), 'spec.containers[0].volumeMounts[0].name: Not found: "w"'),
        (mounted({"name": "v", "mountPath": ""}), "spec.containers[0].volumeMounts[0].mountPath: Required value"),
        (
            mounted({"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}),
            'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
        ),
        (
            mounted({"name": "v", "mountPath": "/a", "subPath": "../b"}),
            "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../b\": must not contain '..'",
        ),
        (
            mounted({"name": "v", "mountPath": "/a", "subPath": "b", "subPathExpr": "c"}),
            (
                'spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "c": subPathExpr and subPath are mutually '
                "exclusive"
            ),
        ),
        (
            pod(container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}])),
            (
                'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported '
                'values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
                '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
            ),
        ),
        (
            pod(securityContext={"fsGroup": -1}),
            "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
    ],
)
async def test_a_volume_that_cannot_be(objects: Objects, given: dict[str, Any], complaint: str) -> None:
    assert await complaints(objects, "", "pods", given) == [complaint]


async def test_a_volume_that_says_nothing_is_an_empty_folder(objects: Objects) -> None:
    given = pod(volumes=[{"name": "v"}, {"name": "c", "configMap": {"name": "c"}}])
    assert await complaints(objects, "", "pods", given) == []


async def test_the_files_of_a_node_are_for_namespaces_of_the_privileged(objects: Objects) -> None:
    given = volume(hostPath={"path": "/var/lib/x"})
    words = r'pods "web" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes \(volume "v"\)'
    for labels in ({}, {LEVEL: "baseline"}):
        objects.add("", "namespaces", {"metadata": {"name": "default", "labels": labels}})
        with pytest.raises(Forbidden, match=words):
            await complaints(objects, "", "pods", given)
    objects.add("", "namespaces", {"metadata": {"name": "default", "labels": {LEVEL: "privileged"}}})
    assert await complaints(objects, "", "pods", given) == []
