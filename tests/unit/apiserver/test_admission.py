"""The chain as a whole, and what it fills in: namespaces, defaults, images, owners, agents' limits."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.builtin import builtin_chain
from stark.apiserver.admission.defaults import pull_policy
from stark.apiserver.admission.node_restriction import may_set_label
from stark.apiserver.errors import ApiError, Forbidden, Invalid, NotFound
from stark.apiserver.request import User
from stark.crds.images import pack_object_name
from tests.support.server_side import ADMIN, ALICE, BOB, CONTROLLERS, RESOURCES, Objects, node_user, resource

CHAIN = builtin_chain(RESOURCES, Objects())
Object = dict[str, Any]


@pytest.fixture
def objects() -> Objects:
    objects = Objects()
    for name in ("default", "kube-node-lease"):
        objects.add("", "namespaces", {"metadata": {"name": name}, "status": {"phase": "Active"}})
    gone = {"name": "gone", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    objects.add("", "namespaces", {"metadata": gone, "status": {"phase": "Terminating"}})
    return objects


def add_pack(objects: Objects, version: str, *, owner: str = "admin", name: str = "hello", **more: Any) -> None:
    metadata = {"name": pack_object_name(name, version), "annotations": {"stark.dev/owner": owner}}
    spec = {"name": name, "version": version, "visibility": more.get("visibility", "public")}
    objects.add(
        "stark.dev", "packs", {"metadata": metadata, "spec": spec, "status": {"phase": more.get("phase", "Available")}}
    )


def pod(image: str = "nginx:1", **spec: Any) -> Object:
    containers = [{"name": "c", "image": image}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": containers, **spec},
    }


def deployment(image: str = "nginx:1") -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    }


def node(name: str = "n1", **spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {}}, "spec": spec}


async def admit(
    objects: Objects,
    what: tuple[str, str],
    obj: Object | None,
    *,
    old: Object | None = None,
    operation: str = "",
    user: User = ADMIN,
    subresource: str = "",
) -> Attributes:
    """Run the chain over a copy of `obj`; the attributes afterwards."""
    metadata = (obj or old or {})["metadata"]
    attributes = Attributes(
        operation=operation or ("UPDATE" if old is not None else "CREATE"),
        resource=resource(*what),
        subresource=subresource,
        namespace=metadata.get("namespace", ""),
        name=metadata.get("name", ""),
        object=copy.deepcopy(obj),
        old=old,
        user=user,
    )
    await CHAIN.admit(attributes, objects)
    return attributes


PODS, DEPLOYMENTS, PACKS, NODES = ("", "pods"), ("apps", "deployments"), ("stark.dev", "packs"), ("", "nodes")
NAMESPACES, SECRETS, CONFIG_MAPS, LEASES = (
    ("", "namespaces"),
    ("", "secrets"),
    ("", "configmaps"),
    ("coordination.k8s.io", "leases"),
)


async def admitted(*arguments: Any, **options: Any) -> Object:
    """The object as the chain made it."""
    obj = (await admit(*arguments, **options)).object
    assert obj is not None
    return obj


async def refusal(*arguments: Any, **options: Any) -> ApiError:
    """Why the chain refused."""
    with pytest.raises(ApiError) as caught:
        await admit(*arguments, **options)
    return caught.value


# ---- Namespaces ----


async def test_nothing_is_created_in_a_missing_namespace(objects: Objects) -> None:
    lost = pod()
    lost["metadata"]["namespace"] = "nowhere"
    error = await refusal(objects, PODS, lost)
    assert isinstance(error, NotFound)
    assert error.status()["message"] == 'namespaces "nowhere" not found'
    assert error.status()["details"] == {"name": "nowhere", "kind": "namespaces"}


async def test_nothing_is_created_in_a_namespace_that_is_going(objects: Objects) -> None:
    late = pod()
    late["metadata"]["namespace"] = "gone"
    error = await refusal(objects, PODS, late)
    assert isinstance(error, Forbidden)
    assert error.message == (
        'pods "web" is forbidden: unable to create new content in namespace gone because it is being terminated'
    )
    assert error.status()["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await admit(objects, CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "gone"}}, old={"metadata": {}})


async def test_a_reserved_namespace_stays(objects: Objects) -> None:
    old = {"metadata": {"name": "kube-system"}}
    error = await refusal(objects, NAMESPACES, None, old=old, operation="DELETE")
    assert error.message == 'namespaces "kube-system" is forbidden: this namespace may not be deleted'
    await admit(objects, NAMESPACES, None, old={"metadata": {"name": "mine"}}, operation="DELETE")


async def test_a_namespace_is_labelled_with_its_name_and_emptied_before_it_goes(objects: Objects) -> None:
    made = await admitted(objects, NAMESPACES, {"metadata": {"name": "mine"}})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "mine"}
    assert made["spec"]["finalizers"] == ["kubernetes"]
    assert made["status"] == {"phase": "Active"}


# ---- Defaults ----


async def test_a_pod_is_completed(objects: Objects) -> None:
    given = pod()
    given["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}
    spec = (await admitted(objects, PODS, given))["spec"]
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["priority"] == 0
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}
    assert [(t["key"], t["tolerationSeconds"]) for t in spec["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 120),
        ("node.kubernetes.io/unreachable", 120),
    ]


async def test_what_a_pod_says_is_kept(objects: Objects) -> None:
    everything = [{"operator": "Exists"}]
    given = pod(restartPolicy="Never", terminationGracePeriodSeconds=5, tolerations=everything)
    spec = (await admitted(objects, PODS, given))["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Never", 5)
    assert spec["tolerations"] == everything


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        pytest.param({}, {"maxUnavailable": "25%", "maxSurge": "25%"}, id="a quarter each, unless said"),
        pytest.param(
            {"rollingUpdate": {"maxSurge": 1}}, {"maxUnavailable": "25%", "maxSurge": 1}, id="only what is not said"
        ),
        pytest.param({"type": "Recreate"}, None, id="nothing when everything is stopped first"),
    ],
)
async def test_a_rolling_update_has_bounds(objects: Objects, given: Object, stored: Object | None) -> None:
    rolling = deployment()
    rolling["spec"]["strategy"] = given
    assert (await admitted(objects, DEPLOYMENTS, rolling))["spec"]["strategy"].get("rollingUpdate") == stored


@pytest.mark.parametrize(("replicas", "warns"), [(0, False), (1, False), (2, True)])
async def test_a_number_of_pods_that_nobody_reads_is_warned_of(objects: Objects, replicas: int, warns: bool) -> None:
    everywhere = deployment()
    everywhere["spec"]["replicas"] = replicas
    assert not (await admit(objects, DEPLOYMENTS, everywhere)).warnings
    everywhere["metadata"]["annotations"] = {"stark.dev/mode": "DaemonSet"}
    found = (await admit(objects, DEPLOYMENTS, everywhere)).warnings
    assert [text.partition(":")[0] for text in found] == ["spec.replicas"] * warns


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        pytest.param({}, "TerminatingOrFailed", id="at once"),
        pytest.param({"podFailurePolicy": {"rules": []}}, "Failed", id="when it has ended, for a policy to see how"),
        pytest.param({"podReplacementPolicy": "Failed"}, "Failed", id="as it is told"),
    ],
)
async def test_a_job_says_when_its_pods_are_replaced(objects: Objects, given: Object, stored: str) -> None:
    job = {
        "metadata": {"name": "once", "namespace": "default"},
        "spec": {"template": pod(restartPolicy="Never"), **given},
    }
    made = await admitted(objects, ("batch", "jobs"), job)
    assert made["spec"]["podReplacementPolicy"] == stored


async def test_a_template_gets_no_tolerations_and_no_priority(objects: Objects) -> None:
    spec = (await admitted(objects, DEPLOYMENTS, deployment()))["spec"]["template"]["spec"]
    assert "tolerations" not in spec
    assert "priority" not in spec
    assert spec["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("pack.stark/hello:1.0.0", "IfNotPresent"),
    ],
)
def test_only_what_may_change_under_its_name_is_always_fetched(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


async def test_text_in_a_secret_becomes_data(objects: Objects) -> None:
    given = {
        "metadata": {"name": "s", "namespace": "default"},
        "data": {"a": "eA==", "b": "eQ=="},
        "stringData": {"b": "new"},
    }
    made = await admitted(objects, SECRETS, given)
    assert "stringData" not in made
    assert made["data"] == {"a": "eA==", "b": base64.b64encode(b"new").decode()}
    assert made["type"] == "Opaque"


# ---- Images ----


def image_of(obj: Object) -> str:
    spec = obj["spec"].get("template", obj)["spec"]
    return str(spec["containers"][0]["image"])


@pytest.mark.parametrize("kind", ["pod", "deployment"])
async def test_a_pack_without_a_version_is_pinned_to_the_highest_release(objects: Objects, kind: str) -> None:
    for version in ("1.9.0", "1.10.0", "2.0.0-rc.1", "0.1.0"):
        add_pack(objects, version)
    add_pack(objects, "3.0.0", phase="Pending")
    what, make = (PODS, pod) if kind == "pod" else (DEPLOYMENTS, deployment)
    assert image_of(await admitted(objects, what, make("pack.stark/hello"))) == "pack.stark/hello:1.10.0"


async def test_a_pack_with_nothing_but_prereleases_is_pinned_to_the_highest(objects: Objects) -> None:
    add_pack(objects, "1.0.0-alpha")
    add_pack(objects, "1.0.0-beta")
    assert image_of(await admitted(objects, PODS, pod("pack.stark/hello"))) == "pack.stark/hello:1.0.0-beta"


async def test_an_update_keeps_the_pin(objects: Objects) -> None:
    add_pack(objects, "1.0.0")
    old = await admitted(objects, DEPLOYMENTS, deployment("pack.stark/hello"))
    add_pack(objects, "2.0.0")
    again = await admitted(objects, DEPLOYMENTS, deployment("pack.stark/hello"), old=old)
    assert image_of(again) == "pack.stark/hello:1.0.0"
    other = deployment("pack.stark/hello")
    other["spec"]["template"]["spec"]["containers"][0]["name"] = "renamed"
    assert image_of(await admitted(objects, DEPLOYMENTS, other, old=old)) == "pack.stark/hello:2.0.0"


async def test_a_version_that_is_not_there_yet_is_a_warning(objects: Objects) -> None:
    attributes = await admit(objects, PODS, pod("pack.stark/hello:9.9.9"))
    assert len(attributes.warnings) == 1
    assert "PackNotFound" in attributes.warnings[0]


@pytest.mark.parametrize("image", ["pack.stark/unknown", "pack.stark/hello:newest", "pack.stark/-bad"])
async def test_a_pack_that_can_never_run_is_invalid(objects: Objects, image: str) -> None:
    error = await refusal(objects, DEPLOYMENTS, deployment(image))
    assert isinstance(error, Invalid)
    assert error.causes[0].field == "spec.template.spec.containers[0].image"


async def test_other_images_are_left_alone(objects: Objects) -> None:
    assert image_of(await admitted(objects, PODS, pod("docker.io/library/nginx"))) == "docker.io/library/nginx"


async def test_a_private_pack_is_for_its_owner_and_administrators(objects: Objects) -> None:
    add_pack(objects, "1.0.0", owner="alice", visibility="private")
    for image in ("pack.stark/hello:1.0.0", "pack.stark/hello"):
        assert isinstance(await refusal(objects, PODS, pod(image), user=BOB), Forbidden)
        for user in (ALICE, ADMIN):
            assert image_of(await admitted(objects, PODS, pod(image), user=user)) == "pack.stark/hello:1.0.0"


async def test_a_template_written_before_its_private_pack_gives_no_way_in(objects: Objects) -> None:
    theirs = await admitted(objects, DEPLOYMENTS, deployment("pack.stark/hello:1.0.0"), user=BOB)
    theirs["metadata"]["uid"] = "d-1"
    objects.add("apps", "deployments", theirs)
    add_pack(objects, "1.0.0", owner="alice", visibility="private")
    made = pod("pack.stark/hello:1.0.0")
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d-1", "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    assert isinstance(await refusal(objects, PODS, made, user=CONTROLLERS), Forbidden)


# ---- Owners ----

STAMP, ROLE = "stark.dev/owner", "stark.dev/owner-role"


def stamps(obj: Object) -> dict[str, str]:
    annotations = obj["metadata"].get("annotations") or {}
    return {key: annotations[key] for key in (STAMP, ROLE) if key in annotations}


async def test_the_creator_is_the_owner_whatever_the_manifest_says(objects: Objects) -> None:
    forged = pod()
    forged["metadata"]["annotations"] = {STAMP: "bob", ROLE: "admin", "mine": "kept"}
    made = await admitted(objects, PODS, forged, user=ALICE)
    assert made["metadata"]["annotations"] == {STAMP: "alice", "mine": "kept"}
    assert stamps(await admitted(objects, PODS, pod(), user=ADMIN)) == {STAMP: "admin", ROLE: "admin"}


async def test_what_administrators_configure_is_the_clusters_own(objects: Objects) -> None:
    made = await admitted(objects, CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "default"}}, user=ADMIN)
    assert "annotations" not in made["metadata"]
    made = await admitted(objects, CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "default"}}, user=ALICE)
    assert stamps(made) == {STAMP: "alice"}


async def test_what_controllers_make_belongs_to_the_owner_of_what_they_make_it_for(objects: Objects) -> None:
    parent = await admitted(objects, DEPLOYMENTS, deployment(), user=ALICE)
    parent["metadata"]["uid"] = "d-1"
    objects.add("apps", "deployments", parent)
    made = pod()
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d-1", "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    assert stamps(await admitted(objects, PODS, made, user=CONTROLLERS)) == {STAMP: "alice"}
    owner["uid"] = "an earlier one"
    assert stamps(await admitted(objects, PODS, made, user=CONTROLLERS)) == {STAMP: CONTROLLERS.name}
    owner["uid"] = "d-1"
    assert stamps(await admitted(objects, PODS, made, user=BOB)) == {STAMP: "bob"}


@pytest.mark.parametrize("subresource", ["", "status"])
async def test_an_owner_cannot_be_changed_by_users_nor_lost(objects: Objects, subresource: str) -> None:
    old = await admitted(objects, DEPLOYMENTS, deployment(), user=ALICE)
    options = {"old": old, "user": ALICE, "subresource": subresource}
    assert stamps(await admitted(objects, DEPLOYMENTS, deployment(), **options)) == {STAMP: "alice"}
    stolen = deployment()
    stolen["metadata"]["annotations"] = {STAMP: "bob"}
    error = await refusal(objects, DEPLOYMENTS, stolen, **options)
    assert error.causes[0].field == "metadata.annotations[stark.dev/owner]"
    promoted = deployment()
    promoted["metadata"]["annotations"] = {STAMP: "alice", ROLE: "admin"}
    assert isinstance(await refusal(objects, DEPLOYMENTS, promoted, **options), Invalid)


async def test_an_administrator_may_hand_over_what_somebody_owns(objects: Objects) -> None:
    old = await admitted(objects, DEPLOYMENTS, deployment(), user=ADMIN)
    given = deployment()
    for given_stamps in ({STAMP: "bob"}, {STAMP: "bob", ROLE: "admin"}):  # as a replacement and as a patch brings it
        given["metadata"]["annotations"] = given_stamps
        assert stamps(await admitted(objects, DEPLOYMENTS, given, old=old, user=ADMIN)) == {STAMP: "bob"}


# ---- Agents ----

N1 = node_user("n1")


async def test_an_agent_writes_only_its_own_node(objects: Objects) -> None:
    await admit(objects, NODES, node("n1", taints=[{"key": "a", "effect": "NoSchedule"}]), user=N1)
    error = await refusal(objects, NODES, node("n2"), user=N1)
    assert error.message == 'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"'
    assert isinstance(
        await refusal(objects, NODES, node("n2"), old=node("n2"), user=N1, subresource="status"), Forbidden
    )


async def test_an_agent_cannot_change_its_taints(objects: Objects) -> None:
    tainted = node("n1", taints=[{"key": "a", "effect": "NoSchedule"}])
    assert isinstance(await refusal(objects, NODES, node("n1"), old=tainted, user=N1), Forbidden)
    await admit(objects, NODES, tainted, old=tainted, user=N1)
    await admit(objects, NODES, node("n1"), old=tainted, user=ADMIN)


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("kubernetes.io/hostname", True),
        ("kubernetes.io/arch", True),
        ("stark.dev/runtime-node", True),
        ("stark.dev/node-type", True),
        ("rack", True),
        ("example.com/rack", True),
        ("node.kubernetes.io/instance-type", True),
        ("node-restriction.kubernetes.io/secure", False),
        ("sub.node-restriction.kubernetes.io/secure", False),
        ("node-role.kubernetes.io/control-plane", False),
        ("stark.dev/tenant", False),
        ("k8s.io/anything", False),
    ],
)
async def test_an_agent_sets_only_labels_that_grant_nothing(objects: Objects, label: str, allowed: bool) -> None:
    assert may_set_label(label) is allowed
    labelled = node()
    labelled["metadata"]["labels"] = {label: "x"}
    if allowed:
        await admit(objects, NODES, labelled, old=node(), user=N1)
    else:
        for old, new in ((node(), labelled), (labelled, node())):
            assert label in (await refusal(objects, NODES, new, old=old, user=N1)).message


async def test_an_agent_writes_the_status_of_its_pods_and_deletes_them(objects: Objects) -> None:
    mine, other = pod(nodeName="n1"), pod(nodeName="n2")
    await admit(objects, PODS, mine, old=mine, user=N1, subresource="status")
    await admit(objects, PODS, None, old=mine, user=N1, operation="DELETE")
    assert isinstance(await refusal(objects, PODS, other, old=other, user=N1, subresource="status"), Forbidden)
    assert isinstance(await refusal(objects, PODS, None, old=other, user=N1, operation="DELETE"), Forbidden)
    assert isinstance(await refusal(objects, PODS, mine, user=N1), Forbidden)
    assert isinstance(await refusal(objects, PODS, mine, old=mine, user=N1), Forbidden)


async def test_an_agent_reports_ports_but_changes_no_labels_through_status(objects: Objects) -> None:
    old, new = pod(nodeName="n1"), pod(nodeName="n1")
    new["metadata"]["annotations"] = {"stark.dev/ports": '{"http":8080}'}
    assert (await admitted(objects, PODS, new, old=old, user=N1, subresource="status"))["metadata"]["annotations"]
    new["metadata"]["labels"] = {"app": "stolen"}
    assert "labels" in (await refusal(objects, PODS, new, old=old, user=N1, subresource="status")).message


async def test_an_agent_has_one_lease(objects: Objects) -> None:
    def lease(name: str, namespace: str = "kube-node-lease") -> Object:
        return {"metadata": {"name": name, "namespace": namespace}}

    await admit(objects, LEASES, lease("n1"), user=N1)
    assert isinstance(await refusal(objects, LEASES, lease("n2"), user=N1), Forbidden)
    assert isinstance(await refusal(objects, LEASES, lease("n1", "default"), user=N1), Forbidden)


async def test_a_new_pod_needs_its_service_account(objects: Objects) -> None:
    objects.add("", "serviceaccounts", {"metadata": {"name": "robot", "namespace": "default"}})
    known = (await admit(objects, ("", "pods"), pod(serviceAccountName="robot"))).object
    assert known is not None
    with pytest.raises(Forbidden) as refusal:
        await admit(objects, ("", "pods"), pod(serviceAccountName="nobody"))
    assert refusal.value.message == (
        'pods "web" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
    )
    # One that exists already may lose its account, and a template may be ahead of it.
    del objects.stored[("", "serviceaccounts", "default", "robot")]
    await admit(objects, ("", "pods"), copy.deepcopy(known), old=known)


async def test_the_default_account_is_taken_for_granted(objects: Objects) -> None:
    admitted = await admit(objects, ("", "pods"), pod())
    assert admitted.object is not None
    assert admitted.object["spec"]["serviceAccountName"] == "default"
