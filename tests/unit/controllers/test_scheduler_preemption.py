"""Who makes way for whom: plans of one node, the choice among nodes, and what the core makes of them over time."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from stark.controllers.scheduler.core import Bind, Core, Preempt, Refuse
from stark.controllers.scheduler.preemption import Preemption
from stark.controllers.scheduler.residents import Residents
from stark.crds.nodes import Node
from stark.crds.placement.facts import Demand
from stark.crds.placement.victims import Budget, Plan, Resident, going, plan
from stark.crds.placement.weights import Weights
from stark.crds.pods import Pod
from tests.support.workloads import at, node, pack, pod

PACKS = {"web.1.0.0": pack("web", "1.0.0")}


def resident(name: str, priority: int = 0, *, begun: float = 0, leaving: bool = False, app: str = "") -> Resident:
    """A pod of one core."""
    return Resident(name, "default", name, {"app": app}, priority, begun, leaving)


def accepts_with(free: int, wanted: int, there: Sequence[Resident]) -> Any:
    """A node with so many free cores, where everybody has one."""

    def accepts(_node: str, gone: Collection[str]) -> bool:
        return free + sum(each.uid in gone for each in there) >= wanted

    return accepts


def planned(
    there: Sequence[Resident], *, free: int = 0, wanted: int = 1, priority: int = 100, budgets: Sequence[Budget] = ()
) -> tuple[list[str], int] | None:
    found = plan("n", going(there, priority, budgets), accepts_with(free, wanted, there))
    return ([victim.name for victim in found.victims], found.violations) if found is not None else None


def budget(app: str, allowed: int, disrupted: Collection[str] = ()) -> Budget:
    return Budget("default", allowed, lambda labels: labels.get("app") == app, app, frozenset(disrupted))


A, B = resident("a", app="a"), resident("b", app="b")


@pytest.mark.parametrize(
    ("there", "more", "expected"),
    [
        pytest.param([resident("a", 100)], {}, None, id="a pod of equal priority stays"),
        pytest.param([resident("a", 101)], {}, None, id="a pod of higher priority stays"),
        pytest.param([], {}, None, id="without anybody to go nothing helps"),
        pytest.param([resident("a")], {"wanted": 2}, None, id="too little even when all lower ones go"),
        pytest.param([resident("a", 5), resident("b", 1)], {}, (["b"], 0), id="the lower one goes"),
        pytest.param([resident("a", begun=10), resident("b", begun=5)], {}, (["a"], 0), id="who began later goes"),
        pytest.param([A, B], {"free": 1, "wanted": 2}, (["b"], 0), id="no more go than must"),
        pytest.param([A, B], {"budgets": [budget("b", 0)]}, (["a"], 0), id="who is protected stays if another can go"),
        pytest.param(
            [A, B], {"budgets": [budget("b", 1)]}, (["b"], 0), id="a budget with one to spare protects nobody"
        ),
        pytest.param([A, B], {"wanted": 2, "budgets": [budget("b", 0)]}, (["a", "b"], 1), id="need beats a budget"),
        pytest.param(
            [A, B], {"budgets": [budget("b", 0, ["b"])]}, (["b"], 0), id="an eviction counted already is free"
        ),
        pytest.param([A, resident("b", 9, leaving=True)], {}, ([], 0), id="who leaves anyway is let go before others"),
        pytest.param([resident("a", 200, leaving=True)], {}, None, id="but nobody waits for a higher one"),
    ],
)
def test_the_victims_of_one_node(there: list[Resident], more: dict[str, Any], expected: Any) -> None:
    assert planned(there, **more) == expected


def on(name: str, *victims: Resident, violations: int = 0) -> Plan:
    return Plan(name, victims, violations)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(on("x", resident("a", 50)), on("y", resident("b"), violations=1), id="fewer violations"),
        pytest.param(
            on("x", *(resident(f"a{n}", 1) for n in range(9))),
            on("y", resident("b", 2)),
            id="a lower highest victim",
        ),
        pytest.param(
            on("x", resident("a", 5), resident("b", 1)),
            on("y", resident("c", 5), resident("d", 2)),
            id="a smaller sum",
        ),
        pytest.param(on("x", resident("a", -5)), on("y", resident("b", -5), resident("c", -9)), id="fewer victims"),
        pytest.param(on("x", resident("a", begun=9)), on("y", resident("b", begun=5)), id="who began later"),
        pytest.param(on("x"), on("y", resident("a", -(10**9))), id="nobody"),
    ],
)
def test_of_two_nodes_the_one_is_better_with(better: Plan, worse: Plan) -> None:
    assert better.cost < worse.cost


def test_a_search_that_remembers_answers_as_one_that_begins_anew() -> None:
    residents = Residents()
    for number in range(30):
        residents.put(f"n{number % 10}", resident(f"p{number}", priority=number % 7, begun=number))
    search = Preemption(residents)

    def accepts(name: str, gone: Collection[str]) -> bool:
        return sum(uid not in gone for uid in residents.at(name)) < 2

    for _ in range(8):
        remembered = search.best(Demand(), 6, accepts, residents.nodes, is_local=True)
        assert remembered == Preemption(residents).best(Demand(), 6, accepts, residents.nodes, is_local=True)
        assert remembered is not None
        for victim in remembered.victims:
            residents.drop(victim.uid)
        residents.put(remembered.node, resident(f"new-{remembered.node}-{len(remembered.victims)}", 6))


def test_a_spent_budget_protects_until_it_is_counted_again() -> None:
    residents = Residents()
    for name in ("a", "b"):
        residents.put(name, resident(name, app="web"))
    search = Preemption(residents)
    search.set_budget("default/web", budget("web", 1))
    first = search.best(Demand(), 9, lambda _, gone: bool(gone), residents.nodes, is_local=True)
    assert first is not None
    assert first.violations == 0
    search.spend(first.victims)
    residents.drop(first.victims[0].uid)
    second = search.best(Demand(), 9, lambda _, gone: bool(gone), residents.nodes, is_local=True)
    assert second is not None
    assert second.violations == 1


# --- the core, over time ---


class Cluster:
    """The caches that a core looks into, and the core."""

    def __init__(self, *nodes: Node) -> None:
        self.pods: dict[str, Pod] = {}
        self.core = Core(self.pods.get, PACKS.get)
        for each in nodes:
            self.core.set_node(each)

    def put(
        self, name: str, cpu: str = "4", *, on: str = "", now: float = 0, leaving: bool = False, **spec: Any
    ) -> Pod:
        container = {"name": "main", "image": "pack.stark/web:1.0.0", "resources": {"requests": {"cpu": cpu}}}
        metadata = {"deletionTimestamp": at(0)} if leaving else {}
        made = pod(name, node=on, spec={"containers": [container], **spec}, metadata=metadata)
        self.pods[made.key] = made
        self.core.set_pod(made, now)
        return made

    def gone(self, name: str, now: float = 0) -> None:
        self.core.drop_pod(self.pods.pop(f"default/{name}"), now)

    def decide(self, now: float = 0) -> str | None:
        """In short: `name -> node`, `name -x node: victims`, `name waits` or `name waits for node`."""
        decision = self.core.decide(now)
        match decision:
            case Bind():
                return f"{decision.pod.metadata.name} -> {decision.node}"
            case Preempt(refuse=refuse):
                victims = ",".join(victim.name for victim in decision.victims)
                return f"{refuse.pod.metadata.name} -x {refuse.nominated}: {victims}"
            case Refuse():
                kept = f" for {decision.nominated}" if decision.nominated else ""
                return f"{decision.pod.metadata.name} waits{kept}"
        return None


def test_a_higher_pod_waits_for_its_victim_and_takes_its_place() -> None:
    cluster = Cluster(node("a"))
    cluster.put("low", on="a")
    cluster.put("high", priority=10)
    assert cluster.decide() == "high -x a: low"
    cluster.put("low", on="a", leaving=True)
    assert cluster.decide(60) is None, "one that leaves makes no room yet"
    cluster.gone("low")
    assert cluster.decide(0.1) == "high -> a", "without any back-off"


def test_the_room_that_is_made_is_kept_against_equal_and_lower_pods() -> None:
    cluster = Cluster(node("a"))
    cluster.put("low", on="a")
    cluster.put("high", priority=10)
    assert cluster.decide() == "high -x a: low"
    cluster.put("equal", "1", priority=10)
    cluster.put("lower", "1")
    cluster.gone("low")
    assert cluster.decide() == "high -> a"
    assert [cluster.decide(), cluster.decide()] == ["equal waits", "lower waits"]


def test_a_higher_pod_looks_through_room_that_is_kept_for_a_lower_one() -> None:
    cluster = Cluster(node("a"))
    cluster.put("low", on="a")
    cluster.put("high", priority=10)
    assert cluster.decide() == "high -x a: low"
    cluster.gone("low")
    cluster.put("highest", priority=20)
    assert cluster.decide() == "highest -> a"
    assert cluster.decide() == "high waits", "its nomination is gone with its room"


@pytest.mark.parametrize(
    ("high", "preempts"),
    [
        pytest.param({"priority": 10, "preemptionPolicy": "Never"}, True, id="a pod that asks nobody to go"),
        pytest.param({"priority": 0}, True, id="a pod of equal priority"),
        pytest.param({"priority": 10, "nodeSelector": {"no": "where"}}, True, id="a pod that nobody's going helps"),
        pytest.param({"priority": 10}, False, id="any pod where the cluster forbids it"),
    ],
)
def test_nobody_goes_for(high: dict[str, Any], preempts: bool) -> None:
    nodes = [node("a")]
    cluster = Cluster(*nodes)
    cluster.core.configure(pods_max=110, weights=Weights(), nodes=nodes, preempts=preempts)
    cluster.put("low", on="a")
    cluster.put("high", **high)
    assert cluster.decide() == "high waits"


def test_a_full_node_gives_up_a_pod_though_it_has_cpu_left() -> None:
    nodes = [node("a")]
    cluster = Cluster(*nodes)
    cluster.core.configure(pods_max=1, weights=Weights(), nodes=nodes)
    cluster.put("low", "1m", on="a")
    cluster.put("high", "1m", priority=10)
    assert cluster.decide() == "high -x a: low"


def test_two_pods_do_not_count_on_the_same_victim() -> None:
    cluster = Cluster(node("a"))
    for name in ("low1", "low2"):
        cluster.put(name, "2", on="a")
    for name in ("high1", "high2", "high3"):
        cluster.put(name, "2", priority=10)
    first, second = cluster.decide(), cluster.decide()
    assert {first, second} == {"high1 -x a: low2", "high2 -x a: low1"}
    assert cluster.decide() == "high3 waits"


def test_after_a_restart_the_room_is_still_kept_and_nobody_else_goes() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.put("other", on="b")
    cluster.put("low", on="a", leaving=True)
    high = cluster.put("high", priority=10)
    told = high.model_copy(update={"status": high.status.model_copy(update={"nominated_node_name": "a"})})
    cluster.pods[high.key] = told
    cluster.core.adopt(cluster.pods.values())
    assert cluster.decide() == "high waits for a"
    cluster.gone("low")
    assert cluster.decide() == "high -> a"


def test_a_nomination_that_came_to_nothing_is_given_up() -> None:
    cluster = Cluster(node("a"))
    cluster.put("low", on="a")
    cluster.put("high", priority=10)
    assert cluster.decide() == "high -x a: low"
    cluster.core.set_node(node("a", spec={"unschedulable": True}))
    cluster.gone("low")
    cluster.core.set_node(node("b"))
    assert cluster.decide(1) == "high -> b"
    cluster.put("next", nodeSelector={"no": "where"}, priority=10)
    assert cluster.decide(1) == "next waits"


def test_when_the_node_goes_the_pod_looks_for_another_at_once() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.put("low1", on="a")
    cluster.put("low2", on="b", priority=1)
    cluster.put("high", priority=10)
    assert cluster.decide() == "high -x a: low1"
    cluster.core.drop_node("a")
    assert cluster.decide(0.1) == "high -x b: low2"


def test_victims_that_could_not_be_asked_are_spared_and_the_pod_tries_again_after_its_back_off() -> None:
    cluster = Cluster(node("a"))
    cluster.put("low", on="a")
    cluster.put("high", priority=10)
    decision = cluster.core.decide(0)
    assert isinstance(decision, Preempt)
    cluster.core.spared(decision, 0)
    assert cluster.decide(0.1) is None
    assert cluster.decide(1) == "high -x a: low"


def test_a_pod_deleted_while_it_waits_for_its_room_gives_it_back() -> None:
    cluster = Cluster(node("a"))
    cluster.put("low", on="a")
    cluster.put("high", priority=10)
    assert cluster.decide() == "high -x a: low"
    cluster.put("equal", priority=10)
    assert cluster.decide() == "equal waits"
    cluster.gone("low")
    cluster.gone("high", 2)
    assert cluster.decide(2) == "equal -> a"


def test_a_gated_pod_waits_for_nobody_but_its_gate() -> None:
    cluster = Cluster(node("a"))
    cluster.put("p", schedulingGates=[{"name": "example.com/x"}])
    assert (cluster.decide(), cluster.core.gated) == (None, {"default/p"})
    cluster.put("p")
    assert (cluster.decide(), cluster.core.gated) == ("p -> a", set())


@pytest.mark.parametrize(
    ("label", "woken"),
    [
        pytest.param({"zone": "a"}, "p -> a", id="the label that it selects"),
        pytest.param({"zone": "b"}, None, id="another value of the label"),
        pytest.param({"other": "a"}, None, id="another label"),
    ],
)
def test_a_pod_that_found_no_node_with_its_label_is_woken_by(label: dict[str, str], woken: str | None) -> None:
    cluster = Cluster(node("a"))
    cluster.put("p", nodeSelector={"zone": "a"})
    assert cluster.decide() == "p waits"
    cluster.core.set_node(node("a", labels=label))
    assert cluster.decide(60) == woken


def test_room_that_is_too_small_wakes_nobody() -> None:
    cluster = Cluster(node("a"))
    for name in ("x", "y"):
        cluster.put(name, "2", on="a")
    cluster.put("p", "3")
    assert cluster.decide() == "p waits"
    cluster.gone("x")
    assert cluster.decide(60) is None
    cluster.gone("y", 60)
    assert cluster.decide(60) == "p -> a"


def test_among_equals_the_earliest_deadline_goes_first_and_then_who_came_first() -> None:
    cluster = Cluster(node("a"))
    container = [{"name": "main", "image": "pack.stark/web:1.0.0"}]
    deadlines = {"none1": "", "late": "2030-01-02T00:00:00Z", "early": "2030-01-01T00:00:00Z", "none2": "soon"}
    for name, deadline in deadlines.items():
        annotations = {"stark.dev/deadline": deadline} if deadline else {}
        made = pod(name, spec={"containers": container}, metadata={"annotations": annotations})
        cluster.pods[made.key] = made
        cluster.core.set_pod(made, 0)
    assert [cluster.decide() for _ in deadlines] == [f"{name} -> a" for name in ("early", "late", "none1", "none2")]


def test_a_pod_that_never_began_counts_as_the_youngest() -> None:
    assert Resident.of(pod("p", node="a")).started_at == math.inf


def about(kind: str, app: str) -> dict[str, Any]:
    """A required wish about pods of an app, in the same zone."""
    selector = {"matchLabels": {"app": app}}
    term = {"labelSelector": selector, "topologyKey": "zone"}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def labelled(cluster: Cluster, name: str, app: str, *, on: str = "", now: float = 0, **spec: Any) -> None:
    container = {"name": "main", "image": "pack.stark/web:1.0.0"}
    made = pod(name, node=on, spec={"containers": [container], **spec}, metadata={"labels": {"app": app}})
    cluster.pods[made.key] = made
    cluster.core.set_pod(made, now)


def test_a_pod_that_wants_company_is_woken_by_the_company_it_wants_and_by_no_other() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}))
    labelled(cluster, "p", "p", affinity=about("podAffinity", "db"))
    assert cluster.decide() == "p waits"
    labelled(cluster, "web", "web", on="a", now=60)
    assert cluster.decide(60) is None
    labelled(cluster, "db", "db", on="a", now=60)
    assert cluster.decide(60) == "p -> a"


def test_a_pod_that_wants_to_be_alone_is_woken_when_the_other_leaves_the_place() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}), node("b", labels={"zone": "x"}))
    labelled(cluster, "p", "p", affinity=about("podAntiAffinity", "db"))
    labelled(cluster, "db", "db", on="a")
    assert cluster.decide() == "p waits"
    cluster.gone("db", 60)
    assert cluster.decide(60) in ("p -> a", "p -> b")


def test_a_lower_pod_goes_because_the_higher_one_must_not_be_near_it() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}))
    labelled(cluster, "db", "db", on="a")
    labelled(cluster, "web", "web", on="a")
    labelled(cluster, "p", "p", affinity=about("podAntiAffinity", "db"), priority=5)
    assert cluster.decide() == "p -x a: db"
    cluster.gone("db")
    assert cluster.decide(0.1) == "p -> a"


def test_nobody_goes_where_a_lower_pod_is_wanted_near_because_all_lower_ones_are_thought_away_first() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}))
    cluster.put("full", "4", on="a", priority=2)
    labelled(cluster, "db", "db", on="a", priority=1)
    cluster.put("p", "2", priority=5, affinity=about("podAffinity", "db"))
    assert cluster.decide() == "p waits"


@pytest.mark.parametrize(
    ("ports", "victims"),
    [
        pytest.param([80], "low", id="the pod that has its port goes"),
        pytest.param([81], None, id="with a port of its own it needs nobody to go"),
    ],
)
def test_host_ports_are_given_up_too(ports: list[int], victims: str | None) -> None:
    cluster = Cluster(node("a"))

    def with_ports(name: str, numbers: list[int], on: str = "", **spec: Any) -> None:
        wanted = [{"containerPort": number, "hostPort": number} for number in numbers]
        container = {"name": "main", "image": "pack.stark/web:1.0.0", "ports": wanted}
        made = pod(name, node=on, spec={"containers": [container], **spec})
        cluster.pods[made.key] = made
        cluster.core.set_pod(made, 0)

    with_ports("low", [80], "a")
    with_ports("high", ports, priority=5)
    assert cluster.decide() == (f"high -x a: {victims}" if victims else "high -> a")
