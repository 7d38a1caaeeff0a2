"""The scheduler without a server: what it reads from objects, and what it decides as the cluster changes."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.scheduler.core import Bind, Core, Refuse, is_ours
from stark.controllers.scheduler.oddities import Oddities
from stark.crds.annotations import OWNER, OWNER_ROLE
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.packs import Pack
from stark.crds.placement.facts import HostPort
from stark.crds.placement.filters import Rule
from stark.crds.placement.reading import demand_of, offer_of, pack_problem, takes_room
from stark.crds.placement.weights import POLICIES, Weights
from stark.crds.pod_groups import PodGroup
from stark.crds.pods import Pod
from tests.support.workloads import at, meta, node, owned_by, pack, pod

PACKS = {each.metadata.name: each for each in (pack("web", "1.0.0"), pack("new", "1.0.0", phase="Pending"))}


class Cluster:
    """The caches that a core looks into, and the core."""

    def __init__(self, *nodes: Node, packs: dict[str, Pack] | None = None) -> None:
        self.pods: dict[str, Pod] = {}
        self.packs = dict(PACKS if packs is None else packs)
        self.core = Core(self.pods.get, self.packs.get)
        for each in nodes:
            self.core.set_node(each)

    def put(self, pod: Pod, now: float = 0) -> None:
        self.pods[pod.key] = pod
        self.core.set_pod(pod, now)

    def gone(self, pod: Pod) -> None:
        del self.pods[pod.key]
        self.core.drop_pod(pod)

    def bind(self, now: float = 0) -> Bind:
        decision = self.core.decide(now)
        assert isinstance(decision, Bind), decision
        return decision

    def refuse(self, now: float = 0) -> Refuse:
        decision = self.core.decide(now)
        assert isinstance(decision, Refuse), decision
        return decision


def wanting(name: str, cpu: str, **more: Any) -> Pod:
    requests = {"requests": {"cpu": cpu}}
    container = {"name": "main", "image": "pack.stark/web:1.0.0", "resources": requests}
    return pod(name, spec={"containers": [container], **more})


def with_image(image: str, **container: Any) -> Pod:
    return pod("p", spec={"containers": [{"name": "main", "image": image, **container}]})


@pytest.mark.parametrize(
    ("pod", "ours", "room"),
    [
        pytest.param(pod("p"), True, False, id="an unbound pod waits"),
        pytest.param(pod("p", node="n"), False, True, id="a bound pod takes room"),
        pytest.param(pod("p", node="n", phase="Succeeded"), False, False, id="a finished pod takes none"),
        pytest.param(pod("p", phase="Failed"), False, False, id="a failed pod does not wait"),
        pytest.param(pod("p", spec={"schedulerName": "mine"}), False, False, id="another scheduler's pod is not ours"),
        pytest.param(
            pod("p", metadata={"deletionTimestamp": at(0)}), False, False, id="a pod on its way out waits not"
        ),
        pytest.param(
            pod("p", node="n", metadata={"deletionTimestamp": at(0)}),
            False,
            True,
            id="a pod being stopped keeps its room",
        ),
    ],
)
def test_a_pod_waits_or_takes_room_or_neither(pod: Pod, ours: bool, room: bool) -> None:
    assert (is_ours(pod), takes_room(pod)) == (ours, room)


def test_a_demand_is_the_sum_of_the_containers_requests_with_limits_as_default() -> None:
    first = {
        "name": "a",
        "image": "pack.stark/web:1.0.0",
        "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}},
    }
    second = {
        "name": "b",
        "image": "nginx:1",
        "resources": {"limits": {"cpu": "1"}},
        "ports": [{"containerPort": 80, "hostPort": 80}],
    }
    given = {"annotations": {"stark.dev/ports": '{"http": 31000}'}, "ownerReferences": owned_by("rs")}
    demand = demand_of(pod("p", spec={"containers": [first, second]}, metadata=given), PACKS.get)
    assert (demand.milli_cpu, demand.memory, demand.owner) == (1250, 1 << 30, "uid-rs")
    assert demand.ports == {HostPort("TCP", 80), HostPort("TCP", 31000)}
    assert set(demand.where.runtimes) == {frozenset({"node"}), frozenset({"container"})}
    assert demand.where.architectures is None


@pytest.mark.parametrize(
    ("runtime", "architectures", "runtimes", "expected"),
    [
        pytest.param("node", ("any",), {frozenset({"node"})}, None, id="a script runs on every processor"),
        pytest.param("binary", ("amd64", "arm64"), {frozenset({"binary"})}, {"amd64", "arm64"}, id="a binary does not"),
        pytest.param("binary", ("any", "arm64"), {frozenset({"binary"})}, None, id="any beside others is still any"),
        pytest.param("universal", ("any",), {frozenset({"node", "browser"})}, None, id="universal is node or browser"),
        pytest.param("isomorphic", ("any",), {frozenset({"node", "browser"})}, None, id="isomorphic is universal"),
    ],
)
def test_a_pack_says_what_its_pods_need(
    runtime: str, architectures: tuple[str, ...], runtimes: set[frozenset[str]], expected: set[str] | None
) -> None:
    packs = {"x.1.0.0": pack("x", "1.0.0", runtime=runtime, architectures=architectures)}
    demand = demand_of(with_image("pack.stark/x:1.0.0"), packs.get)
    assert set(demand.where.runtimes) == runtimes
    assert demand.where.architectures == expected


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        pytest.param("pack.stark/web:1.0.0", None, id="a pack that is there is no problem"),
        pytest.param("nginx:latest", None, id="a container image is no pack"),
        pytest.param("pack.stark/web:9.9.9", "PackNotFound", id="an unknown version is not found"),
        pytest.param("pack.stark/web", "PackNotFound", id="an image that was never pinned is not found"),
        pytest.param("pack.stark/new:1.0.0", "PackNotReady", id="a pack without its bundles is not ready"),
    ],
)
def test_a_pod_waits_for_its_pack(image: str, reason: str | None) -> None:
    problem = pack_problem(with_image(image), PACKS.get)
    assert (problem.reason if problem else None) == reason


def test_an_offer_is_what_the_node_may_give_to_pods() -> None:
    offer = offer_of(node("n", spec={"unschedulable": True, "taints": [{"key": "a", "effect": "NoSchedule"}]}))
    assert (offer.milli_cpu, offer.memory, offer.pods, offer.unschedulable, offer.ready) == (
        4000,
        8 << 30,
        110,
        True,
        True,
    )
    assert offer_of(node("n", ready="Unknown")).ready is False
    assert offer_of(node("n", ready=None)).ready is False


def test_a_decision_takes_the_room_before_the_server_has_confirmed_it() -> None:
    cluster = Cluster(node("a"))
    for name in ("p", "q"):
        cluster.put(wanting(name, "3"))
    assert cluster.bind().pod.metadata.name == "p"
    assert cluster.refuse().message == "0/1 nodes are available: 1 Insufficient cpu."


def test_a_failed_binding_gives_the_room_back_and_the_pod_its_turn() -> None:
    cluster = Cluster(node("a"))
    cluster.put(wanting("p", "3"))
    bind = cluster.bind()
    cluster.core.failed(bind, 0)
    assert cluster.core.decide(0.5) is None
    assert cluster.bind(1).waiting.attempts == 2


def test_a_pod_deleted_while_it_is_bound_is_forgotten() -> None:
    cluster = Cluster(node("a"))
    cluster.put(wanting("p", "3"))
    bind = cluster.bind()
    cluster.gone(bind.pod)
    cluster.core.failed(bind, 0)
    assert cluster.core.next_due_s(0) in (0.0, None)
    assert cluster.core.decide(0) is None
    cluster.put(wanting("q", "4"))
    assert cluster.bind().node == "a"


def test_news_from_before_the_binding_does_not_schedule_the_pod_twice() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.put(wanting("p", "1"))
    cluster.bind()
    cluster.put(wanting("p", "1"))
    assert cluster.core.decide(0) is None


def test_a_pod_that_somebody_else_bound_is_counted_and_not_scheduled() -> None:
    cluster = Cluster(node("a"))
    cluster.put(wanting("p", "3"))
    cluster.put(wanting("p", "3", nodeName="a"))
    assert cluster.core.decide(0) is None
    cluster.put(wanting("q", "3"))
    cluster.refuse()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(node("a", ready="False"), node("a"), id="a node becomes ready"),
        pytest.param(node("a", spec={"unschedulable": True}), node("a"), id="a node is uncordoned"),
        pytest.param(node("a", spec={"taints": [{"key": "x", "effect": "NoSchedule"}]}), node("a"), id="a taint goes"),
        pytest.param(None, node("a"), id="the first node comes"),
    ],
)
def test_a_refused_pod_is_tried_again_when(before: Node | None, after: Node) -> None:
    cluster = Cluster(*([before] if before else []))
    cluster.put(wanting("p", "1"))
    cluster.refuse()
    assert cluster.core.decide(2) is None
    cluster.core.set_node(after)
    assert cluster.bind(2).node == "a"


TAINTED = {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]}


def test_a_refused_pod_is_tried_again_when_the_last_of_several_reasons_is_gone() -> None:
    """A node that comes back is ready first and loses its taint a moment later."""
    cluster = Cluster(node("a", ready="Unknown", spec=TAINTED))
    cluster.put(wanting("p", "1"))
    assert cluster.refuse().rules == {Rule.READY}
    cluster.core.set_node(node("a", spec=TAINTED))
    assert cluster.core.decide(20) is None
    cluster.core.set_node(node("a"))
    assert cluster.bind(40).node == "a"


def test_of_pods_alike_each_is_tried_again_whatever_refused_it() -> None:
    cluster = Cluster(node("a", ready="Unknown", spec=TAINTED))
    cluster.put(wanting("p", "1"))
    cluster.refuse()
    cluster.core.set_node(node("a", spec=TAINTED))
    cluster.put(wanting("q", "1"))
    assert cluster.refuse().rules == {Rule.TAINTS}
    cluster.core.set_node(node("a"))
    assert {cluster.bind(40).pod.metadata.name, cluster.bind(40).pod.metadata.name} == {"p", "q"}


def test_a_refused_pod_is_tried_again_when_another_makes_room() -> None:
    cluster = Cluster(node("a"))
    cluster.put(wanting("big", "4", nodeName="a"))
    cluster.put(wanting("p", "1"))
    cluster.refuse()
    cluster.gone(cluster.pods["default/big"])
    assert cluster.bind(2).pod.metadata.name == "p"


def test_a_refused_pod_is_left_alone_by_what_cannot_help_it() -> None:
    cluster = Cluster(node("a"))
    cluster.put(wanting("p", "100"))
    assert cluster.refuse().rules == {Rule.RESOURCES}
    cluster.core.set_node(node("a", labels={"zone": "b"}))
    assert cluster.core.decide(100) is None


def test_a_pod_waiting_for_its_pack_is_placed_where_the_pack_can_run() -> None:
    cluster = Cluster(node("a"), node("b", labels={"stark.dev/runtime-python": "3.11"}), packs={})
    waiting = pod("p", spec={"containers": [{"name": "main", "image": "pack.stark/py:1.0.0"}]})
    cluster.put(waiting)
    refusal = cluster.refuse()
    assert (refusal.reason, refusal.message) == ("PackNotFound", "pack py:1.0.0 is not registered")
    cluster.packs["py.1.0.0"] = pack("py", "1.0.0", runtime="python")
    cluster.core.pack_changed("py.1.0.0", 2)
    decision = cluster.bind(2)
    assert (decision.pod, decision.node) == (waiting, "b")


def test_the_highest_priority_is_placed_first() -> None:
    cluster = Cluster(node("a"))
    cluster.put(wanting("low", "1"))
    cluster.put(wanting("high", "1", priority=100))
    assert [cluster.bind().pod.metadata.name for _ in range(2)] == ["high", "low"]


def test_a_cluster_without_nodes_says_so() -> None:
    cluster = Cluster()
    cluster.put(pod("p"))
    assert cluster.refuse().message == "no nodes available to schedule pods"


def owned(thing: Any, owner: str, role: str = "user") -> Any:
    """The same as somebody's."""
    thing.metadata.annotations.update({OWNER: owner, OWNER_ROLE: role})
    return thing


def test_a_private_pack_waits_for_a_node_of_its_owner_or_an_administrator() -> None:
    cluster = Cluster(
        owned(node("bobs"), "bob"), node("nobodys"), packs={"web.1.0.0": owned(pack("web", "1.0.0"), "alice")}
    )
    cluster.put(owned(pod("p"), "alice"))
    refused = cluster.refuse()
    assert refused.rules == {Rule.OWNER}
    assert refused.message == (
        "0/2 nodes are available: 1 node(s) belonged to another user, and the pod has a private pack or Secrets, "
        "1 node(s) had no owner and were not open to all."
    )
    cluster.core.set_node(owned(node("nobodys"), "root", "admin"))
    assert cluster.bind(now=60).node == "nobodys"


def test_a_strangers_private_pack_is_run_for_nobody_but_administrators() -> None:
    packs = {"web.1.0.0": owned(pack("web", "1.0.0"), "alice")}
    cluster = Cluster(owned(node("shared"), "root", "admin"), packs=packs)
    cluster.put(owned(pod("p"), "bob"))
    refused = cluster.refuse()
    assert (refused.reason, refused.message) == (
        "PackNotAllowed",
        "pack web:1.0.0 is private and belongs to another user",
    )
    cluster.put(owned(pod("q"), "root", "admin"))
    assert cluster.bind().pod.metadata.name == "q"


def test_a_cluster_that_fills_its_nodes_takes_the_fullest_that_has_room() -> None:
    nodes = [node("a"), node("b")]
    cluster = Cluster(*nodes)
    cluster.put(wanting("first", "100m", nodeName="b"))
    cluster.put(wanting("spread", "100m"))
    assert cluster.bind().node == "a"
    cluster.core.configure(pods_max=110, weights=POLICIES["binpack"], nodes=nodes)
    cluster.put(wanting("second", "100m", nodeName="b"))
    cluster.put(wanting("filled", "100m"))
    assert cluster.bind().node == "b"


def test_a_node_takes_no_more_pods_than_the_cluster_says() -> None:
    nodes = [node("a")]
    cluster = Cluster(*nodes)
    cluster.core.configure(pods_max=1, weights=Weights(), nodes=nodes)
    cluster.put(wanting("first", "1m"))
    cluster.put(wanting("second", "1m"))
    assert cluster.bind().node == "a"
    assert "Too many pods" in cluster.refuse().message
    cluster.core.configure(pods_max=2, weights=Weights(), nodes=nodes)
    assert cluster.bind(now=100).node == "a", "the one that waits is tried again"


ABSURD = {"cpu": "9223372036854775807", "memory": "8Ei", "example.com/gpu": "9223372036854775807"}


@pytest.mark.parametrize("bound_to", [pytest.param("", id="that waits"), pytest.param("a", id="bound by hand")])
@pytest.mark.parametrize("resource", ABSURD)
def test_a_pod_of_absurd_size_stands_in_nobodys_way(resource: str, bound_to: str) -> None:
    each = {"image": "pack.stark/web:1.0.0", "resources": {"requests": {resource: ABSURD[resource]}}}
    absurd = pod("absurd", node=bound_to, spec={"containers": [{"name": name, **each} for name in "xy"]})
    cluster = Cluster(node("a"), node("b"))
    cluster.put(absurd)
    if not bound_to:
        cluster.refuse()
    cluster.put(wanting("p", "1"))
    assert cluster.bind().pod.metadata.name == "p"


def test_an_annotation_that_cannot_be_read_is_no_port() -> None:
    nested = {"annotations": {"stark.dev/ports": "[" * 100_000}}
    assert demand_of(pod("p", metadata=nested), PACKS.get).ports == frozenset()


def test_a_pod_relabelled_while_it_is_bound_counts_as_what_it_is() -> None:
    cluster = Cluster(node("a"))
    cluster.put(pod("p", metadata={"labels": {"app": "old"}}))
    bind = cluster.bind()
    cluster.put(pod("p", metadata={"labels": {"app": "new"}}))
    placed = cluster.core.snapshot.placed(bind.pod.uid)
    assert placed is not None
    assert placed.demand.profile.labels == (("app", "new"),)
    cluster.core.failed(bind, 0)
    again = cluster.bind(1)
    assert again.waiting.demand.profile.labels == (("app", "new"),)


@pytest.mark.parametrize(
    ("rank", "placed"),
    [
        pytest.param("user", True, id="a restricted user's does not"),
        pytest.param("admin", False, id="an administrator's does"),
    ],
)
def test_anti_affinity_keeps_strangers_away(rank: str, placed: bool) -> None:
    everybody = {"labelSelector": {}, "namespaceSelector": {}, "topologyKey": "kubernetes.io/hostname"}
    alone = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [everybody]}}
    whose = {"annotations": {OWNER: "somebody", OWNER_ROLE: rank}}
    cluster = Cluster(node("a", labels={"kubernetes.io/hostname": "a"}))
    cluster.put(pod("first", node="a", spec={"affinity": alone}, metadata=whose))
    cluster.put(wanting("p", "1"))
    assert isinstance(cluster.core.decide(0), Bind) is placed


class OddPacks(dict[str, Pack]):
    """Packs of which one cannot be looked up while it is odd."""

    odd = ""

    def get(self, name: str, default: Any = None) -> Any:
        if name == self.odd:
            raise ZeroDivisionError("of all things")
        return super().get(name, default)


def odd_cluster(*nodes: Node) -> tuple[Cluster, OddPacks]:
    packs = OddPacks({"bad.1.0.0": pack("bad", "1.0.0"), "web.1.0.0": pack("web", "1.0.0")})
    cluster = Cluster(*nodes)
    cluster.core = Core(cluster.pods.get, packs.get)
    for each in nodes:
        cluster.core.set_node(each)
    return cluster, packs


@pytest.mark.parametrize("group", ["", "gang"], ids=["a pod", "a group"])
def test_what_cannot_be_judged_waits_by_itself_and_is_tried_again(group: str) -> None:
    cluster, packs = odd_cluster(node("a"))
    container = {"name": "main", "image": "pack.stark/bad:1.0.0"}
    metadata = {"labels": {"stark.dev/pod-group": group}} if group else {}
    if group:
        body = {"metadata": meta(group), "spec": {"minMember": 2, "scheduleTimeoutSeconds": 60}}
        cluster.core.set_group(decode(body, PodGroup), 0)
        cluster.put(pod("member", metadata=metadata))
    bad = pod("bad", spec={"containers": [container], "priority": 9}, metadata=metadata)
    cluster.put(bad)
    cluster.put(wanting("good", "1"))
    packs.odd = "bad.1.0.0"
    refused = [cluster.refuse() for _ in range(2 if group else 1)]
    assert {each.reason for each in refused} == {"SchedulerError"}
    assert refused[0].message == "the scheduler could not judge this pod: ZeroDivisionError: of all things"
    assert cluster.bind().pod.metadata.name == "good"
    assert cluster.core.decide(0.5) is None
    packs.odd = ""
    assert {cluster.bind(20).pod.metadata.name for _ in refused} == {each.pod.metadata.name for each in refused}


def test_a_node_that_cannot_be_read_is_nowhere_to_go_until_it_can() -> None:
    cluster = Cluster(node("a"))
    odd = node("a").model_copy(update={"status": None})
    with pytest.raises(AttributeError):
        cluster.core.set_node(odd)
    cluster.put(wanting("p", "1"))
    assert cluster.refuse().message == "no nodes available to schedule pods"
    cluster.core.configure(pods_max=5, weights=Weights(), nodes=[odd, node("b")])
    assert cluster.bind(20).node == "b"


def test_a_pack_that_changes_concerns_the_pods_that_name_it_alone() -> None:
    cluster = Cluster(node("a"), packs={})
    for name in ("new", "web"):
        cluster.put(pod(name, spec={"containers": [{"name": "main", "image": f"pack.stark/{name}:1.0.0"}]}))
    assert {cluster.refuse().reason for _ in range(2)} == {"PackNotFound"}
    cluster.packs["web.1.0.0"] = PACKS["web.1.0.0"]
    cluster.core.pack_changed("web.1.0.0", 2)
    assert cluster.bind(2).pod.metadata.name == "web"
    assert cluster.core.decide(2) is None


def test_an_odd_object_is_tried_again_ever_later_until_it_is_taken_in() -> None:
    oddities, now, waits = Oddities(), 0.0, []
    for _ in range(11):
        oddities.failed(("pods", "p"), now)
        wait = oddities.next_due_s(now)
        assert wait is not None
        assert oddities.due(now + wait / 2) == []
        waits.append(wait)
        now += wait
        assert oddities.due(now) == [("pods", "p")]
    assert (waits[:3], waits[-1]) == ([1, 2, 4], 300)
    oddities.over(("pods", "p"))
    assert oddities.next_due_s(now) is None
