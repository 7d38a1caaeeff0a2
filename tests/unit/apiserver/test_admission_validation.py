"""What is invalid, where, and in which words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.builtin import builtin_chain
from stark.apiserver.errors import Forbidden, Invalid
from stark.apiserver.request import User
from stark.crds.images import pack_object_name
from tests.support.server_side import ADMIN, ALICE, BOB, RESOURCES, Objects, resource

CHAIN = builtin_chain(RESOURCES, Objects())
Object = dict[str, Any]
DIGEST = "ab" * 32


@pytest.fixture
def objects() -> Objects:
    objects = Objects()
    objects.add("", "namespaces", {"metadata": {"name": "default"}})
    return objects


async def complaints(
    objects: Objects, group: str, plural: str, obj: Object, old: Object | None = None, user: User = ADMIN
) -> list[str]:
    """`path: message` of every cause; empty when the object is admitted."""
    metadata = obj["metadata"]
    operation = "CREATE" if old is None else "UPDATE"
    namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
    given = copy.deepcopy(obj)
    attributes = Attributes(operation, resource(group, plural), "", namespace, name, given, old, user)
    try:
        await CHAIN.admit(attributes, objects)
    except Invalid as error:
        return [f"{cause.field}: {cause.message}" for cause in error.causes]
    return []


def container(name: str = "c", **more: Any) -> Object:
    return {"name": name, "image": "nginx:1", **more}


def pod(*containers: Object, **spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "default"}
    return {"kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers) or [container()], **spec}}


SIDECARS_ONLY = "may not be set for init containers without restartPolicy=Always"


def hook(**handlers: Any) -> Object:
    """A container with a preStop hook."""
    return {**container(), "lifecycle": {"preStop": handlers}}


def probe(**more: Any) -> Object:
    return container(livenessProbe=more)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (pod(container("a"), container("a")), 'spec.containers[1].name: Duplicate value: "a"'),
        (pod({"name": "c"}), "spec.containers[0].image: Required value"),
        (
            pod(container(image=" x")),
            'spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace',
        ),
        (
            pod(container(ports=[{"containerPort": 70_000}])),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            pod(
                container(ports=[{"containerPort": 1, "hostPort": 80}]),
                container("d", ports=[{"containerPort": 2, "hostPort": 80}]),
            ),
            'spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"',
        ),
        (
            pod(container(ports=[{"containerPort": 1, "name": "x1"}, {"containerPort": 2, "name": "x1"}])),
            'spec.containers[0].ports[1].name: Duplicate value: "x1"',
        ),
        (pod(container(env=[{"name": ""}])), "spec.containers[0].env[0].name: Required value"),
        (
            pod(container(env=[{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}])),
            'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
        ),
        (
            pod(container(envFrom=[{}])),
            'spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
        ),
        (
            pod(container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}})),
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1500m',
        ),
        (
            pod(container(resources={"limits": {"memory": "-1Mi"}})),
            'spec.containers[0].resources.limits[memory]: Invalid value: "-1Mi": must be greater than or equal to 0',
        ),
        (pod(probe()), "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
        (
            pod(probe(exec={"command": ["x"]}, tcpSocket={"port": 80})),
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            pod(probe(tcpSocket={"port": 80}, successThreshold=2)),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (pod(probe(exec={})), "spec.containers[0].livenessProbe.exec.command: Required value"),
        (pod(hook()), "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"),
        (
            pod(hook(sleep={"seconds": 1}, tcpSocket={"port": 80})),
            "spec.containers[0].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type",
        ),
        (
            pod(hook(sleep={"seconds": 31})),
            (
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: "
                "must be non-negative and less than terminationGracePeriodSeconds (30)"
            ),
        ),
        (
            pod(container(restartPolicy="Always")),
            "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers",
        ),
        (pod(initContainers=[container()]), 'spec.containers[0].name: Duplicate value: "c"'),
        (
            pod(initContainers=[{**probe(exec={"command": ["x"]}), "name": "first"}]),
            f"spec.initContainers[0].livenessProbe: Forbidden: {SIDECARS_ONLY}",
        ),
        (
            pod(initContainers=[{**hook(sleep={"seconds": 1}), "name": "first"}]),
            f"spec.initContainers[0].lifecycle: Forbidden: {SIDECARS_ONLY}",
        ),
        (
            pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
            "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
        ),
        (
            pod(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}]),
            (
                'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
                "effect must be 'NoExecute' when `tolerationSeconds` is set"
            ),
        ),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
async def test_a_pod_is_judged_in_kubernetes_words(objects: Objects, given: Object, complaint: str) -> None:
    assert complaint in await complaints(objects, "", "pods", given)


async def test_a_pod_with_everything_right_has_nothing_to_be_said_about(objects: Objects) -> None:
    good = pod(
        container(
            ports=[{"containerPort": 80, "name": "http", "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}],
            env=[{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            envFrom=[{"prefix": "P_", "secretRef": {"name": "s"}}],
            resources={"requests": {"cpu": "1000m"}, "limits": {"cpu": "1"}},
            readinessProbe={"httpGet": {"path": "/", "port": "http"}, "successThreshold": 3},
        ),
        {**hook(sleep={"seconds": 30}), "name": "d", "ports": [{"containerPort": 81}]},
        initContainers=[
            container("first", ports=[{"containerPort": 1, "hostPort": 80}]),
            {**probe(exec={"command": ["x"]}), **hook(httpGet={"port": 1}), "name": "side", "restartPolicy": "Always"},
            container("last", ports=[{"containerPort": 1, "hostPort": 80}]),
        ],
        nodeSelector={"kubernetes.io/arch": "amd64"},
        tolerations=[{"operator": "Exists"}],
    )
    assert await complaints(objects, "", "pods", good) == []


async def stored(objects: Objects, group: str, plural: str, obj: Object) -> Object:
    """The object as it is after admission."""
    metadata = obj["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    given = copy.deepcopy(obj)
    await CHAIN.admit(Attributes("CREATE", resource(group, plural), "", namespace, name, given, None, ADMIN), objects)
    return given


def edit(obj: Object, change: Callable[[Object], object]) -> Object:
    changed = copy.deepcopy(obj)
    change(changed["spec"])
    return changed


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda spec: None, id="nothing"),
        pytest.param(lambda spec: spec["containers"][0].update(image="nginx"), id="image"),
        pytest.param(
            lambda spec: spec["tolerations"].append({"key": "x", "operator": "Exists"}), id="toleration added"
        ),
        pytest.param(lambda spec: spec.update(activeDeadlineSeconds=5), id="deadline"),
        pytest.param(lambda spec: spec.pop("priority"), id="a default left out"),
        pytest.param(lambda spec: spec.pop("tolerations"), id="default tolerations left out"),
    ],
)
async def test_of_a_pod_may_change(objects: Objects, change: Callable[[Object], object]) -> None:
    old = await stored(objects, "", "pods", pod())
    assert await complaints(objects, "", "pods", edit(old, change), old) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda spec: spec.update(nodeName="n9"), id="node"),
        pytest.param(lambda spec: spec["containers"][0].update(command=["x"]), id="command"),
        pytest.param(lambda spec: spec["containers"].append(container("more")), id="containers"),
        pytest.param(lambda spec: spec.update(restartPolicy="Never"), id="restart policy"),
        pytest.param(lambda spec: spec["tolerations"].pop(), id="own toleration removed"),
    ],
)
async def test_of_a_pod_may_not_change(objects: Objects, change: Callable[[Object], object]) -> None:
    old = await stored(objects, "", "pods", pod(tolerations=[{"key": "mine", "operator": "Exists"}]))
    old["spec"]["tolerations"].reverse()
    found = await complaints(objects, "", "pods", edit(old, change), old)
    assert found
    assert all("Forbidden: " in complaint for complaint in found)


def deployment(**spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container()]}}
    base = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {**base, **spec}}


def noted(annotations: Object) -> Object:
    web = deployment()
    return {**web, "metadata": {**web["metadata"], "annotations": annotations}}


def template(labels: Object, **spec: Any) -> Object:
    return {"metadata": {"labels": labels}, "spec": {"containers": [container()], **spec}}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            deployment(template=template({"app": "other"})),
            'spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`',
        ),
        (
            deployment(template=template({"app": "web"}, restartPolicy="Never")),
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        (deployment(selector={}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            deployment(
                template={"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container(), container()]}}
            ),
            'spec.template.spec.containers[1].name: Duplicate value: "c"',
        ),
        (
            deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            deployment(strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            deployment(progressDeadlineSeconds=5, minReadySeconds=5),
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
        ),
        (
            noted({"stark.dev/mode": "all"}),
            'metadata.annotations[stark.dev/mode]: Unsupported value: "all": supported values: "DaemonSet", "Replicas"',
        ),
        (
            noted({"stark.dev/follow-latest": "yes"}),
            'metadata.annotations[stark.dev/follow-latest]: Unsupported value: "yes": supported values: "false", "true"',
        ),
        (
            noted({"stark.dev/crash-loop": '{"threshold": 0}'}),
            "metadata.annotations[stark.dev/crash-loop].threshold: Invalid value: 0: must be a whole number from 1 to 100",
        ),
        (
            noted({"stark.dev/crash-loop": '{"exitCodes": {"count": [1, 300]}}'}),
            (
                "metadata.annotations[stark.dev/crash-loop].exitCodes.count[1]: Invalid value: 300: "
                "must be a whole number from 0 to 255"
            ),
        ),
        (
            noted({"stark.dev/crash-loop": "[" * 100_000}),
            "metadata.annotations[stark.dev/crash-loop]: Invalid value: ",
        ),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
async def test_a_deployment_is_judged_in_kubernetes_words(objects: Objects, given: Object, complaint: str) -> None:
    assert complaint in [said[: len(complaint)] for said in await complaints(objects, "apps", "deployments", given)]


@pytest.mark.parametrize("plural", ["deployments", "replicasets"])
async def test_a_selector_cannot_be_changed(objects: Objects, plural: str) -> None:
    old = deployment()
    new = deployment(selector={"matchLabels": {"app": "b"}}, template=template({"app": "b"}))
    assert await complaints(objects, "apps", plural, new, old) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable'
    ]


def pack(name: str = "hello", version: str = "1.0.0", **spec: Any) -> Object:
    bundles = [{"architecture": "any", "sha256": DIGEST, "size": 3}]
    base = {"name": name, "version": version, "runtime": "node", "bundles": bundles}
    return {"kind": "Pack", "metadata": {"name": pack_object_name(name, version)}, "spec": {**base, **spec}}


def bundle(**more: Any) -> list[Object]:
    return [{"architecture": "any", "sha256": DIGEST, "size": 3, **more}]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({**pack(), "metadata": {"name": "hello"}}, "metadata.name"),
        (pack(name="1x"), "spec.name"),
        (pack(version="1.0"), "spec.version"),
        (pack(bundles=[]), "spec.bundles"),
        (pack(bundles=bundle() * 2), "spec.bundles[1].architecture"),
        (pack(bundles=bundle(sha256="AB" * 32)), "spec.bundles[0].sha256"),
        (pack(bundles=bundle(size=600 * 1024 * 1024)), "spec.bundles[0].size"),
        (pack(description="x" * 1001), "spec.description"),
        (pack(metadata={str(key): 1 for key in range(51)}), "spec.metadata"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_pack_is_judged(objects: Objects, given: Object, field: str) -> None:
    assert [found for found in await complaints(objects, "stark.dev", "packs", given) if found.startswith(f"{field}: ")]


@pytest.mark.parametrize("name", ["hello", "Hello_World"])
async def test_a_packs_object_is_named_after_name_and_version(objects: Objects, name: str) -> None:
    assert await complaints(objects, "stark.dev", "packs", pack(name, "1.0.0-rc.1+build.5")) == []


@pytest.mark.parametrize("change", [{"runtime": "python"}, {"bundles": bundle(size=4)}, {"version": "1.0.1"}])
async def test_what_makes_a_version_cannot_be_changed(objects: Objects, change: Object) -> None:
    found = await complaints(objects, "stark.dev", "packs", pack(**change), pack())
    assert any("field is immutable" in complaint for complaint in found)


async def test_what_describes_a_version_can_be_changed(objects: Objects) -> None:
    new = pack(description="new", visibility="public", metadata={"timeout": 5})
    assert await complaints(objects, "stark.dev", "packs", new, pack()) == []


async def test_a_pack_name_belongs_to_who_registered_it_first(objects: Objects) -> None:
    first = pack()
    first["metadata"]["annotations"] = {"stark.dev/owner": "alice"}
    objects.add("stark.dev", "packs", first)
    assert await complaints(objects, "stark.dev", "packs", pack(version="2.0.0"), user=ALICE) == []
    with pytest.raises(Forbidden, match="belongs to another user"):
        await complaints(objects, "stark.dev", "packs", pack(version="9.0.0"), user=BOB)


def secret(**more: Any) -> Object:
    return {"kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "type": "Opaque", **more}


@pytest.mark.parametrize(
    ("plural", "old", "new", "complaint"),
    [
        ("secrets", secret(), secret(type="x/y"), 'type: Invalid value: "x/y": field is immutable'),
        (
            "secrets",
            secret(immutable=True, data={"a": "eA=="}),
            secret(immutable=True, data={"a": "eQ=="}),
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            "secrets",
            secret(immutable=True),
            secret(),
            "immutable: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            "configmaps",
            secret(immutable=True, data={"a": "1"}),
            secret(immutable=True),
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        ("secrets", None, secret(type="kubernetes.io/tls", data={"tls.crt": "eA=="}), "data[tls.key]: Required value"),
        (
            "configmaps",
            None,
            secret(data={"a": "x" * (1 << 20), "b": "y"}),
            ": Too long: may not be more than 1048576 bytes",
        ),
    ],
)
async def test_configuration_is_judged(
    objects: Objects, plural: str, old: Object | None, new: Object, complaint: str
) -> None:
    assert complaint in await complaints(objects, "", plural, new, old)


async def test_a_secret_is_never_quoted_in_a_complaint(objects: Objects) -> None:
    found = await complaints(objects, "", "secrets", secret(data={"a": "hunter2!"}))
    assert found == ['data[a]: Invalid value: "<redacted>": must be base64 encoded']


async def test_a_taint_is_there_once(objects: Objects) -> None:
    taint = {"key": "a", "effect": "NoSchedule"}
    node = {"metadata": {"name": "n1"}, "spec": {"taints": [taint, {**taint, "value": "other"}]}}
    assert (await complaints(objects, "", "nodes", node))[0].startswith("spec.taints[1]: Duplicate value: ")


async def test_all_complaints_are_told_at_once(objects: Objects) -> None:
    bad = pod(container(image="", ports=[{"containerPort": 0}]), container())
    assert len(await complaints(objects, "", "pods", bad)) == 3


def failing_job(*rules: Object, restart: str = "Never", **spec: Any) -> Object:
    inner = {"metadata": {}, "spec": {"containers": [container()], "restartPolicy": restart}}
    policy = {"podFailurePolicy": {"rules": list(rules)}}
    return {
        "kind": "Job",
        "metadata": {"name": "sums", "namespace": "default"},
        "spec": {"template": inner, **policy, **spec},
    }


CODES = {"operator": "In", "values": [1, 42]}
CONDITION = [{"type": "DisruptionTarget", "status": "True"}]
RULE = "spec.podFailurePolicy.rules[0]"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            failing_job({"action": "Ignore", "onPodConditions": CONDITION}, restart="OnFailure"),
            'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported',
        ),
        (
            failing_job({"action": "Ignore", "onPodConditions": CONDITION}, podReplacementPolicy="TerminatingOrFailed"),
            'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"',
        ),
        (failing_job({"action": "Ignore"}), f'{RULE}: Invalid value: {{"action":"Ignore"}}: specifying one of'),
        (
            failing_job({"action": "FailJob", "onExitCodes": CODES, "onPodConditions": CONDITION}),
            f"{RULE}: Invalid value: ",
        ),
        (
            failing_job({"action": "FailJob", "onExitCodes": {**CODES, "containerName": "x"}}),
            f'{RULE}.onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer',
        ),
        (
            failing_job({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0, 1]}}),
            f"{RULE}.onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            failing_job({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 1]}}),
            f"{RULE}.onExitCodes.values: Invalid value: [2,1]: must be ordered",
        ),
    ],
)
async def test_a_policy_of_failures_is_judged_in_kubernetes_words(
    objects: Objects, given: Object, complaint: str
) -> None:
    assert complaint in [said[: len(complaint)] for said in await complaints(objects, "batch", "jobs", given)]


async def test_a_good_policy_of_failures_is_taken(objects: Objects) -> None:
    rules = ({"action": "FailJob", "onExitCodes": CODES}, {"action": "Ignore", "onPodConditions": CONDITION})
    assert await complaints(objects, "batch", "jobs", failing_job(*rules)) == []


def indexed_job(restart: str = "Never", **spec: Any) -> Object:
    inner = {"metadata": {}, "spec": {"containers": [container()], "restartPolicy": restart}}
    base = {"completionMode": "Indexed", "completions": 5, "parallelism": 2, "backoffLimitPerIndex": 1}
    return {
        "kind": "Job",
        "metadata": {"name": "sums", "namespace": "default"},
        "spec": {"template": inner, **base, **spec},
    }


def succeeds_when(**rule: Any) -> Object:
    return indexed_job(successPolicy={"rules": [rule]})


SUCCESS = "spec.successPolicy.rules[0]"
FAIL_INDEX = {"rules": [{"action": "FailIndex", "onExitCodes": CODES}]}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            indexed_job(completionMode="NonIndexed"),
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
        (
            indexed_job(restart="OnFailure"),
            'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when backoffLimitPer',
        ),
        (
            indexed_job(backoffLimitPerIndex=None, maxFailedIndexes=1),
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
        ),
        (
            indexed_job(maxFailedIndexes=6),
            "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions",
        ),
        (
            indexed_job(completions=100_001),
            "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
        ),
        (
            indexed_job(backoffLimitPerIndex=None, podFailurePolicy=FAIL_INDEX),
            'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set',
        ),
        (succeeds_when(), f"{SUCCESS}: Required value: at least one of succeededCount or succeededIndexes must be"),
        (
            succeeds_when(succeededIndexes="3,1"),
            f'{SUCCESS}.succeededIndexes: Invalid value: "3,1": error parsing succeededIndexes: non-increasing order',
        ),
        (
            succeeds_when(succeededIndexes="0-5"),
            f'{SUCCESS}.succeededIndexes: Invalid value: "0-5": error parsing succeededIndexes: too large index',
        ),
        (
            succeeds_when(succeededIndexes="0,2", succeededCount=3),
            f"{SUCCESS}.succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the",
        ),
        (
            succeeds_when(succeededCount=6),
            f"{SUCCESS}.succeededCount: Invalid value: 6: must be less than or equal to 5",
        ),
    ],
)
async def test_limits_of_indexes_are_judged_in_kubernetes_words(
    objects: Objects, given: Object, complaint: str
) -> None:
    assert complaint in [said[: len(complaint)] for said in await complaints(objects, "batch", "jobs", given)]


async def test_good_limits_of_indexes_are_taken(objects: Objects) -> None:
    policy = {"rules": [{"succeededIndexes": "0,2-4", "succeededCount": 2}]}
    given = indexed_job(maxFailedIndexes=2, successPolicy=policy, podFailurePolicy=FAIL_INDEX)
    assert await complaints(objects, "batch", "jobs", given) == []
