"""What may be asked of isolation and of securityContext, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.cluster import ClusterRules
from stark.apiserver.admission.isolation import IsolationRights, isolation_concerns
from stark.apiserver.admission.podspecs import FoundSpec
from stark.apiserver.admission.validate_security import security_causes
from stark.apiserver.auth.authorization import AuthorizationAttributes, Decision
from stark.apiserver.errors import Forbidden, Invalid
from stark.apiserver.request import User
from tests.support.server_side import ADMIN, ALICE, BOB, CONTROLLERS, Objects, resource

PACK = "pack.stark/hello:1.0.0"


def complaints(
    container: dict[str, Any] | None = None, *, asks: str | None = None, image: str = PACK, **spec: Any
) -> list[str]:
    annotations = {"annotations": {"stark.dev/isolation": asks}} if asks is not None else {}
    whole = {"containers": [{"name": "c", "image": image, **(container or {})}], **spec}
    return [f"{cause.field}: {cause.message}" for cause in security_causes(FoundSpec("spec", whole, annotations))]


def context(**fields: Any) -> dict[str, Any]:
    return {"securityContext": fields}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        pytest.param({"asks": "jail"}, "metadata.annotations[stark.dev/isolation]", id="a class that is none"),
        pytest.param(
            {"container": context(runAsUser=-1)}, "spec.containers[0].securityContext.runAsUser", id="a user below 0"
        ),
        pytest.param(
            {"securityContext": {"runAsGroup": 2**31}}, "spec.securityContext.runAsGroup", id="a group too high"
        ),
        pytest.param(
            {"container": context(privileged=True, allowPrivilegeEscalation=False), "asks": "trusted"},
            "spec.containers[0].securityContext",
            id="privileged without escalation",
        ),
        pytest.param(
            {"container": context(privileged=True)},
            "spec.containers[0].securityContext.privileged",
            id="a privileged pack that is not trusted",
        ),
        pytest.param(
            {"container": context(capabilities={"add": ["NET_ADMIN"]})},
            "spec.containers[0].securityContext.capabilities.add",
            id="a capability for a pack that is not trusted",
        ),
        pytest.param(
            {"container": context(seccompProfile={"type": "Localhost", "localhostProfile": "a.json"})},
            "spec.containers[0].securityContext.seccompProfile.type",
            id="a file of system calls for a pack",
        ),
        pytest.param(
            {"securityContext": {"seccompProfile": {"type": "Unconfined"}}, "asks": "strict"},
            "spec.securityContext.seccompProfile.type",
            id="all system calls for a strict pod",
        ),
        pytest.param(
            {"container": context(seccompProfile={"type": "Localhost"}), "image": "nginx"},
            "spec.containers[0].securityContext.seccompProfile.localhostProfile",
            id="no file of system calls",
        ),
        pytest.param(
            {"container": {"ports": [{"containerPort": 80}]}, "asks": "strict"},
            "spec.containers[0].ports",
            id="a port without a network",
        ),
        pytest.param(
            {"container": {"readinessProbe": {"httpGet": {"port": 80}}}, "asks": "strict"},
            "spec.containers[0].readinessProbe.httpGet",
            id="a probe without a network",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], path: str) -> None:
    assert [text.partition(": ")[0] for text in complaints(**given)] == [path]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"asks": "process"}, id="a class"),
        pytest.param(
            {"container": context(runAsUser=0, runAsNonRoot=False, capabilities={"drop": ["ALL"]}, privileged=False)},
            id="what Kubernetes' restricted profile asks for",
        ),
        pytest.param(
            {"container": context(privileged=True), "asks": "trusted"}, id="a privileged pack that is trusted"
        ),
        pytest.param({"container": context(privileged=True), "image": "nginx"}, id="a privileged container image"),
        pytest.param({"container": {"livenessProbe": {"exec": {}}}, "asks": "strict"}, id="a strict pod's own probe"),
    ],
)
def test_what_can_be_is_not(given: dict[str, Any]) -> None:
    assert complaints(**given) == []


class OnlyBob:
    """Bob may use the trusted class in his namespace."""

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        asked = (attributes.verb, attributes.group, attributes.resource, attributes.name, attributes.namespace)
        granted = asked == ("use", "stark.dev", "isolationclasses", "trusted", "default")
        return Decision(granted and attributes.user.name == "bob")


def workload(plural: str, isolation: str | None, image: str = PACK) -> dict[str, Any]:
    annotations = {"stark.dev/isolation": isolation} if isolation else {}
    pod = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "c", "image": image}]}}
    if plural == "pods":
        return pod
    return {"metadata": {"name": "web"}, "spec": {"replicas": 1, "template": pod}}


async def write(
    user: User,
    new: dict[str, Any],
    old: dict[str, Any] | None = None,
    plural: str = "deployments",
    subresource: str = "",
) -> None:
    group = "" if plural == "pods" else "apps"
    attributes = Attributes(
        operation="CREATE" if old is None else "UPDATE",
        resource=resource(group, plural),
        subresource=subresource,
        namespace="default",
        name="web",
        object=new,
        old=old,
        user=user,
    )
    await IsolationRights(OnlyBob())(attributes, Objects())


@pytest.mark.parametrize("plural", ["pods", "deployments"])
async def test_trusted_pods_take_a_right(plural: str) -> None:
    trusted = workload(plural, "trusted")
    for user in (BOB, ADMIN, CONTROLLERS):
        await write(user, trusted, plural=plural)
    with pytest.raises(Forbidden, match=r'takes the right to "use" isolationclasses\.stark\.dev'):
        await write(ALICE, trusted, plural=plural)
    await write(ALICE, workload(plural, "strict"), plural=plural)


async def test_who_may_not_run_trusted_pods_may_scale_but_not_change_them() -> None:
    old, scaled = workload("deployments", "trusted"), workload("deployments", "trusted")
    scaled["spec"]["replicas"] = 5
    await write(ALICE, scaled, old)
    with pytest.raises(Forbidden):
        await write(ALICE, workload("deployments", "trusted", "pack.stark/other:1.0.0"), old)
    with pytest.raises(Forbidden):
        await write(ALICE, old, workload("deployments", "process"))


@pytest.mark.parametrize("subresource", ["", "status", "binding"])
async def test_a_pod_keeps_its_class(subresource: str) -> None:
    assert isolation_concerns(resource("", "pods"), "UPDATE", subresource)
    for new, old in (("process", "strict"), ("trusted", None)):
        with pytest.raises(Invalid, match="field is immutable"):
            await write(ADMIN, workload("pods", new), workload("pods", old), "pods", subresource)
    await write(ALICE, workload("pods", "trusted"), workload("pods", "trusted"), "pods", subresource)


@pytest.mark.parametrize(
    ("asked", "image", "default", "level", "expected"),
    [
        pytest.param(None, PACK, "strict", "", "strict", id="the cluster's"),
        pytest.param("process", PACK, "strict", "", "process", id="its own"),
        pytest.param("", PACK, "strict", "", "strict", id="nothing is no class"),
        pytest.param(None, PACK, None, "", None, id="what the node has"),
        pytest.param("", PACK, None, "baseline", "process", id="never the agent's user where that is forbidden"),
        pytest.param(None, PACK, None, "privileged", None, id="or where it is not"),
        pytest.param(None, "nginx", None, "restricted", None, id="a container engine's"),
    ],
)
async def test_new_pods_that_ask_for_no_class_are_given_one(
    asked: str | None, image: str, default: str | None, level: str, expected: str | None
) -> None:
    pod = workload("pods", None, image)
    if asked is not None:
        pod["metadata"]["annotations"]["stark.dev/isolation"] = asked
    known = Objects()
    labels = {"pod-security.kubernetes.io/enforce": level} if level else {}
    known.add("", "namespaces", {"metadata": {"name": "default", "labels": labels}})
    attributes = Attributes("CREATE", resource("", "pods"), "", "default", "web", pod, None, ALICE)
    await ClusterRules(lambda: {"defaultIsolation": default}, lambda _: 0).isolation(attributes, known)
    assert (pod["metadata"]["annotations"].get("stark.dev/isolation") or None) == expected
