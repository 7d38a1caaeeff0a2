"""The rules about other pods, case by case: who must be near, who apart, and how even a group lies."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.meta import decode
from stark.crds.placement.facts import Demand, NodeTaint, Offer
from stark.crds.placement.judging import Cluster, Verdict, best, judge
from stark.crds.placement.reading import demand_of
from stark.crds.placement.weights import Weights
from stark.crds.pods import Pod

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NAMESPACES = {"default": {"team": "red"}, "other": {"team": "blue"}}
NEAR = "node(s) didn't match pod affinity rules"
APART = "node(s) didn't match pod anti-affinity rules"
KEPT = "node(s) didn't satisfy existing pods anti-affinity rules"
SKEWED = "node(s) didn't match pod topology spread constraints"
UNLABELLED = "node(s) didn't match pod topology spread constraints (missing required label)"


def pod(app: str = "", namespace: str = "default", *, leaving: bool = False, **spec: Any) -> Demand:
    metadata: dict[str, Any] = {"name": "p", "namespace": namespace, "labels": {"app": app} if app else {}}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    containers = [{"name": "c", "image": "pack.stark/x:1.0.0"}]
    return demand_of(decode({"metadata": metadata, "spec": {"containers": containers, **spec}}, Pod), lambda _: None)


def term(app: str = "web", key: str = "zone", **more: Any) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **more}


def near(*terms: dict[str, Any], app: str = "", **more: Any) -> Demand:
    return pod(app, affinity={"podAffinity": {REQUIRED: list(terms)}}, **more)


def apart(*terms: dict[str, Any], app: str = "", **more: Any) -> Demand:
    return pod(app, affinity={"podAntiAffinity": {REQUIRED: list(terms)}}, **more)


def rather(side: str, weight: int, what: dict[str, Any], app: str = "") -> Demand:
    return pod(app, affinity={side: {PREFERRED: [{"weight": weight, "podAffinityTerm": what}]}})


def even(*constraints: dict[str, Any], app: str = "web", **more: Any) -> Demand:
    defaults = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    selector = {"labelSelector": {"matchLabels": {"app": "web"}}}
    return pod(app, topologySpreadConstraints=[{**defaults, **selector, **each} for each in constraints], **more)


OFFERS = [
    Offer("a1", 9000, 9 << 30, 110, {"zone": "a", "host": "a1"}),
    Offer("a2", 9000, 9 << 30, 110, {"zone": "a", "host": "a2"}),
    Offer("b1", 9000, 9 << 30, 110, {"zone": "b", "host": "b1", "disk": "ssd"}),
    Offer("no", 9000, 9 << 30, 110, {"host": "no"}),
]
LOCAL = Weights(least_allocated=0, balanced_allocation=0, fewest_pods=0)


def verdicts(demand: Demand, placed: dict[str, Demand], offers: list[Offer] = OFFERS) -> list[Verdict]:
    """`placed`: demands by node name; a digit after `/` tells several on one node apart."""
    there = {uid: (uid.partition("/")[0], each) for uid, each in placed.items()}
    return judge(demand, Cluster(offers, there, NAMESPACES, LOCAL))


WEB, DB = pod("web"), pod("db")


@pytest.mark.parametrize(
    ("demand", "placed", "refused"),
    [
        pytest.param(near(term()), {"a1": WEB}, {"b1": NEAR, "no": NEAR}, id="near: the same place will do"),
        pytest.param(near(term(key="host")), {"a1": WEB}, {"a2": NEAR, "b1": NEAR, "no": NEAR}, id="near: a host"),
        pytest.param(near(term()), {"a1": DB}, dict.fromkeys(["a1", "a2", "b1", "no"], NEAR), id="near: nobody"),
        pytest.param(near(term(), app="web"), {"a1": DB}, {"no": NEAR}, id="near: the first of a group is free"),
        pytest.param(
            near(term(), app="web"), {"no": WEB}, {"no": NEAR}, id="near: pods outside of any place do not count"
        ),
        pytest.param(
            near(term(), term("db")),
            {"a1": WEB, "a2": DB},
            dict.fromkeys(["a1", "a2", "b1", "no"], NEAR),
            id="near: one pod must fulfil all terms",
        ),
        pytest.param(
            near(term()),
            {"a1": pod("web", "other")},
            dict.fromkeys(["a1", "a2", "b1", "no"], NEAR),
            id="near: only the own namespace is looked at",
        ),
        pytest.param(
            near(term(namespaces=["other"])),
            {"a1": pod("web", "other"), "b1": WEB},
            {"b1": NEAR, "no": NEAR},
            id="near: a named namespace instead of the own",
        ),
        pytest.param(
            near(term(namespaceSelector={"matchLabels": {"team": "blue"}})),
            {"a1": pod("web", "other"), "b1": WEB},
            {"b1": NEAR, "no": NEAR},
            id="near: namespaces by label",
        ),
        pytest.param(
            near(term(namespaceSelector={})), {"a1": pod("web", "other"), "b1": WEB}, {"no": NEAR}, id="near: all"
        ),
        pytest.param(apart(term()), {"a1": WEB}, {"a1": APART, "a2": APART}, id="apart: the whole place"),
        pytest.param(apart(term()), {"no": WEB}, {}, id="apart: a node outside of any place"),
        pytest.param(
            apart(term(), term("db", "host")),
            {"a1": WEB, "b1": DB},
            {"a1": APART, "a2": APART, "b1": APART},
            id="apart: any term forbids",
        ),
        pytest.param(WEB, {"a1": apart(term())}, {"a1": KEPT, "a2": KEPT}, id="kept away by somebody there"),
        pytest.param(DB, {"a1": apart(term())}, {}, id="others are not kept away"),
        pytest.param(pod("web", "other"), {"a1": apart(term())}, {}, id="who is kept away depends on the namespace"),
        pytest.param(even({}), {"a1": WEB}, {"a1": SKEWED, "a2": SKEWED, "no": UNLABELLED}, id="even: one more"),
        pytest.param(even({"maxSkew": 2}), {"a1": WEB}, {"no": UNLABELLED}, id="even: two may be"),
        pytest.param(even({}, app="db"), {"a1": WEB}, {"no": UNLABELLED}, id="even: a pod that is not counted itself"),
        pytest.param(
            even({}),
            {"a1": WEB, "b1/1": pod("web", leaving=True)},
            {"a1": SKEWED, "a2": SKEWED, "no": UNLABELLED},
            id="even: pods that are leaving do not count",
        ),
        pytest.param(
            even({}),
            {"a1": WEB, "b1": pod("web", "other")},
            {"a1": SKEWED, "a2": SKEWED, "no": UNLABELLED},
            id="even: other namespaces do not count",
        ),
        pytest.param(
            even({"minDomains": 3}),
            {"a1": WEB, "b1": WEB},
            {"a1": SKEWED, "a2": SKEWED, "b1": SKEWED, "no": UNLABELLED},
            id="even: too few places",
        ),
        pytest.param(even({"whenUnsatisfiable": "ScheduleAnyway"}), {"a1": WEB}, {}, id="even: a wish forbids nothing"),
        pytest.param(
            even({}, {"topologyKey": "host"}),
            {"a1": WEB, "b1": WEB},
            {"a1": SKEWED, "b1": SKEWED, "no": UNLABELLED},
            id="even: every constraint must hold",
        ),
        pytest.param(
            even({}, nodeSelector={"disk": "ssd"}),
            {"b1": WEB},
            {**dict.fromkeys(["a1", "a2", "no"], "node(s) didn't match Pod's node affinity/selector")},
            id="even: nodes that the selector forbids are no places",
        ),
        pytest.param(
            even({"nodeAffinityPolicy": "Ignore"}, nodeSelector={"disk": "ssd"}),
            {"b1": WEB},
            {**dict.fromkeys(["a1", "a2", "no"], "node(s) didn't match Pod's node affinity/selector"), "b1": SKEWED},
            id="even: unless the policy ignores that",
        ),
    ],
)
def test_neighbours_forbid_nodes(demand: Demand, placed: dict[str, Demand], refused: dict[str, str]) -> None:
    found = {each.node: each.reasons[0] for each in verdicts(demand, placed) if each.reasons}
    assert found == refused


@pytest.mark.parametrize(
    ("policy", "refused"),
    [pytest.param("Ignore", ["a1"], id="ignored"), pytest.param("Honor", [], id="honoured")],
)
def test_tainted_nodes_are_places_unless_the_policy_honours_taints(policy: str, refused: list[str]) -> None:
    tainted = Offer("t", 9000, 9 << 30, 110, {"zone": "t"}, (NodeTaint("x", "", "NoSchedule"),))
    demand = even({"nodeTaintsPolicy": policy})
    found = verdicts(demand, {"a1": WEB}, [OFFERS[0], tainted])
    assert [each.node for each in found if each.reasons == (SKEWED,)] == refused


@pytest.mark.parametrize(
    ("demand", "placed", "chosen"),
    [
        pytest.param(rather("podAffinity", 1, term()), {"b1": WEB}, "b1", id="rather near"),
        pytest.param(rather("podAntiAffinity", 1, term()), {"a1": WEB}, "b1", id="rather apart"),
        pytest.param(WEB, {"b1": rather("podAffinity", 1, term())}, "b1", id="wished for by somebody there"),
        pytest.param(WEB, {"a1": rather("podAntiAffinity", 1, term())}, "b1", id="not wished for by somebody there"),
        pytest.param(WEB, {"b1": near(term(), app="web")}, "b1", id="needed by somebody there"),
        pytest.param(
            rather("podAffinity", 10, term()), {"a1": WEB, "a2": WEB, "b1": WEB}, "a1", id="more pods are worth more"
        ),
        pytest.param(
            even({"whenUnsatisfiable": "ScheduleAnyway"}), {"a1": WEB, "a2": WEB}, "b1", id="the less crowded place"
        ),
    ],
)
def test_neighbours_make_nodes_better(demand: Demand, placed: dict[str, Demand], chosen: str) -> None:
    assert best(verdicts(demand, placed)) == chosen


def test_pods_of_one_owner_are_spread_over_nodes_and_zones_without_asking() -> None:
    zone, host = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
    offers = [Offer(name, 9000, 9 << 30, 110, {zone: name[0], host: name}) for name in ("a1", "a2", "b1")]
    owner = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}]
    body = {"metadata": {"name": "p", "namespace": "default", "ownerReferences": owner}}
    body["spec"] = {"containers": [{"name": "c", "image": "pack.stark/x:1.0.0"}]}
    demand = demand_of(decode(body, Pod), lambda _: None)
    there = {"1": ("a1", demand)}
    assert best(judge(demand, Cluster(offers, there, {}, LOCAL))) == "b1"
    packed = Weights(0, 0, 0, 0, 0, spreads_by_default=False)
    # Ties go to the node with fewer pods of the owner all the same.
    assert best(judge(demand, Cluster(offers, there, {}, packed))) == "a2"
