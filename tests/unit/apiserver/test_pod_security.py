"""The levels of Pod Security: what each forbids, in Kubernetes' words, and what becomes of it in each mode."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.pod_security import Policy, pod_security
from stark.apiserver.admission.pod_security.checks import violations
from stark.apiserver.admission.podspecs import FoundSpec
from stark.apiserver.errors import Forbidden, Invalid
from tests.support.server_side import ALICE, Objects, resource

SAFE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def wrong(level: Any, context: dict[str, Any], *, version: str = "latest", asks: str = "", **spec: Any) -> str:
    container = {"name": "a", **spec.pop("container", {}), "securityContext": context}
    annotations = {"annotations": {"stark.dev/isolation": asks}} if asks else {}
    return violations(Policy(level, version), FoundSpec("spec", {"containers": [container], **spec}, annotations))


@pytest.mark.parametrize(
    ("context", "more", "message"),
    [
        pytest.param(
            {"privileged": True},
            {},
            'privileged (container "a" must not set securityContext.privileged=true)',
            id="privileged containers",
        ),
        pytest.param(
            {"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_ADMIN"]}},
            {},
            'non-default capabilities (container "a" must not include "NET_ADMIN", "SYS_ADMIN" in '
            "securityContext.capabilities.add)",
            id="capabilities beyond the usual",
        ),
        pytest.param(
            {},
            {"container": {"ports": [{"hostPort": 80}, {"hostPort": 81}, {"containerPort": 5}]}},
            'hostPort (container "a" uses hostPorts 80, 81)',
            id="ports of the host",
        ),
        pytest.param(
            {},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "hostPath": {"path": "/"}}]},
            'hostPath volumes (volumes "v", "w")',
            id="files of the host",
        ),
        pytest.param(
            {"seccompProfile": {"type": "Unconfined"}},
            {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
            'seccompProfile (pod and container "a" must not set securityContext.seccompProfile.type to "Unconfined")',
            id="all system calls",
        ),
        pytest.param(
            {}, {"asks": "trusted"}, 'isolation class (pod must not set annotation stark.dev/isolation="trusted")',
            id="the agent's own user",
        ),
    ],
)  # fmt: skip
def test_the_baseline_forbids(context: dict[str, Any], more: dict[str, Any], message: str) -> None:
    assert wrong("baseline", context, **more) == message
    assert wrong("privileged", context, **more) == ""


def test_who_says_nothing_is_told_everything_that_the_restricted_level_wants() -> None:
    assert wrong("restricted", {}) == (
        'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to '
        '"RuntimeDefault" or "Localhost")'
    )
    assert wrong("restricted", SAFE) == wrong("baseline", {}) == ""


@pytest.mark.parametrize(
    ("context", "more", "message"),
    [
        pytest.param({"runAsUser": 0}, {}, 'runAsUser=0 (container "a" must not set runAsUser=0)', id="user 0"),
        pytest.param(
            {"runAsNonRoot": False},
            {"securityContext": {"runAsNonRoot": True}},
            'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)',
            id="root by a container",
        ),
        pytest.param(
            {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}},
            {},
            'unrestricted capabilities (container "a" must not include "CHOWN" in securityContext.capabilities.add)',
            id="even usual capabilities",
        ),
        pytest.param(
            {},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "emptyDir": {}}]},
            'restricted volume types (volume "v" uses restricted volume type "hostPath")',
            id="files of the host",
        ),
    ],
)
def test_the_restricted_level_forbids(context: dict[str, Any], more: dict[str, Any], message: str) -> None:
    assert wrong("restricted", {**SAFE, **context}, **more) == message


def test_what_the_pod_says_counts_where_a_container_is_silent() -> None:
    silent = {key: SAFE[key] for key in ("allowPrivilegeEscalation", "capabilities")}
    said = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert wrong("restricted", silent, securityContext=said) == ""


def test_a_level_is_what_it_was_in_its_version() -> None:
    assert "capabilities" not in wrong("restricted", {}, version="v1.21")
    assert "runAsUser" not in wrong("restricted", {**SAFE, "runAsUser": 0}, version="v1.22")
    assert "runAsUser" in wrong("restricted", {**SAFE, "runAsUser": 0}, version="v1.23")


async def write(labels: dict[str, str], kind: str = "pods", old: Any = None, **context: Any) -> Attributes:
    objects = Objects()
    marked = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
    objects.add("", "namespaces", {"metadata": {"name": "default", "labels": marked}})
    pod = {
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a", "image": "i", "securityContext": context}]},
    }
    obj = pod if kind == "pods" else {"metadata": {"name": "web"}, "spec": {"template": pod}}
    group = "" if kind == "pods" else "apps"
    operation = "CREATE" if old is None else "UPDATE"
    attributes = Attributes(operation, resource(group, kind), "", "default", "web", obj, old, ALICE)
    await pod_security(attributes, objects)
    return attributes


async def test_what_is_enforced_is_refused_and_noted() -> None:
    with pytest.raises(Forbidden) as caught:
        await write({"enforce": "baseline", "enforce-version": "v1.28"}, privileged=True)
    assert caught.value.message == (
        'pods "web" is forbidden: violates PodSecurity "baseline:v1.28": '
        'privileged (container "a" must not set securityContext.privileged=true)'
    )
    assert (await write({"enforce": "baseline"})).audit[
        "pod-security.kubernetes.io/enforce-policy"
    ] == "baseline:latest"


async def test_what_is_warned_of_and_audited_passes() -> None:
    written = await write({"warn": "baseline", "audit": "baseline"}, privileged=True)
    text = 'would violate PodSecurity "baseline:latest": privileged (container "a" must not set '
    assert written.warnings == [text + "securityContext.privileged=true)"]
    assert written.audit["pod-security.kubernetes.io/audit-violations"].startswith(text)


async def test_templates_are_warned_of_and_never_refused() -> None:
    written = await write({"enforce": "baseline", "warn": "baseline"}, "deployments", privileged=True)
    assert len(written.warnings) == 1


async def test_a_pod_is_not_judged_again_for_what_does_not_matter() -> None:
    pod = (await write({}, privileged=True)).object
    await write({"enforce": "baseline"}, old=pod, privileged=True)


async def namespace(new: dict[str, str], old: dict[str, str], *, restricted: bool = False) -> list[str]:
    objects = Objects()
    container = {"name": "a", "securityContext": {"privileged": True}}
    for name in ("b", "a"):
        pod = {"metadata": {"name": name, "namespace": "team"}, "spec": {"containers": [container]}}
        objects.add("", "pods", pod)
    key = "pod-security.kubernetes.io/"
    before, after = (
        {"metadata": {"name": "team", "labels": {key + k: v for k, v in each.items()}}} for each in (old, new)
    )
    attributes = Attributes("UPDATE", resource("", "namespaces"), "", "team", "team", after, before, ALICE)
    attributes.restricted = restricted
    await pod_security(attributes, objects)
    return attributes.warnings


async def test_a_stricter_level_tells_of_the_pods_it_would_refuse() -> None:
    assert await namespace({"enforce": "baseline"}, {}) == [
        'existing pods in namespace "team" violate the new PodSecurity enforce level "baseline:latest"',
        'a (and 1 other pod): privileged (container "a" must not set securityContext.privileged=true)',
    ]
    assert await namespace({}, {"enforce": "baseline"}) == []


@pytest.mark.parametrize(("key", "value"), [("enforce", "strictest"), ("warn-version", "1.2")])
async def test_labels_that_mean_nothing_are_refused(key: str, value: str) -> None:
    with pytest.raises(Invalid, match="must be"):
        await namespace({key: value}, {})
    await namespace({key: value, "audit": "baseline"}, {key: value})


async def test_who_has_only_their_own_namespaces_may_make_them_stricter_alone() -> None:
    baseline, restricted = {"enforce": "baseline"}, {"enforce": "restricted"}
    await namespace(restricted, baseline, restricted=True)
    for new, old in (({}, baseline), ({"enforce": "privileged"}, {}), (baseline, restricted)):
        with pytest.raises(Forbidden, match="loosened by administrators"):
            await namespace(new, old, restricted=True)
        await namespace(new, old)
