"""The scheduler's tables against its definition: after any history both name the same node, or both none."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stark.controllers.scheduler.snapshot import Snapshot, refuse, scan
from stark.crds.placement.facts import Demand, HostPort, NodeTaint, NodeTerm, Offer, PodToleration, Where
from stark.crds.selectors import IN, Requirement

names = st.sampled_from([f"n{index}" for index in range(8)])
taints = st.builds(
    NodeTaint,
    st.sampled_from(["dedicated", "disk"]),
    st.sampled_from(["", "gpu"]),
    st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
)
tolerations = st.builds(
    PodToleration,
    st.sampled_from(["", "dedicated", "disk"]),
    st.sampled_from(["Exists", "Equal"]),
    st.sampled_from(["", "gpu"]),
    st.sampled_from(["", "NoSchedule", "PreferNoSchedule"]),
)
labels = st.fixed_dictionaries(
    {},
    optional={
        "zone": st.sampled_from(["a", "b"]),
        "kubernetes.io/arch": st.sampled_from(["amd64", "arm64"]),
        "stark.dev/runtime-node": st.just("22"),
        "stark.dev/runtime-browser": st.just("1"),
        "stark.dev/node-type": st.sampled_from(["server", "browser"]),
    },
)
offers = st.builds(
    Offer,
    name=names,
    milli_cpu=st.sampled_from([0, 1000, 2000, 4000]),
    memory=st.sampled_from([0, 1 << 30, 3 << 30]),
    pods=st.sampled_from([0, 2, 110]),
    extended=st.sampled_from([{}, {}, {"a.b/gpu": 2}, {"a.b/gpu": 1, "ephemeral-storage": 5}]),
    labels=labels,
    taints=st.lists(taints, max_size=2).map(tuple),
    unschedulable=st.booleans(),
    ready=st.sampled_from([True, True, True, False]),
)
wheres = st.builds(
    Where,
    node_name=st.sampled_from(["", "", "", "n1"]),
    selector=st.sampled_from([(), (), (("zone", "a"),)]),
    required=st.sampled_from(
        [
            None,
            None,
            (NodeTerm((Requirement("zone", IN, ("a",)),)), NodeTerm((), (Requirement("metadata.name", IN, ("n2",)),))),
        ]
    ),
    tolerations=st.lists(tolerations, max_size=2).map(tuple),
    runtimes=st.sampled_from([(), (frozenset({"node"}),), (frozenset({"node", "browser"}),)]),
    architectures=st.sampled_from([None, None, frozenset({"amd64"})]),
)
demands = st.builds(
    Demand,
    where=wheres,
    milli_cpu=st.sampled_from([0, 100, 500, 1500]),
    memory=st.sampled_from([0, 1 << 28, 1 << 30]),
    extended=st.sampled_from([(), (), (("a.b/gpu", 1),), (("a.b/gpu", 1), ("ephemeral-storage", 2))]),
    ports=st.sampled_from([frozenset[HostPort](), frozenset({HostPort("TCP", 80)})]),
    owner=st.sampled_from(["", "rs-1", "rs-2"]),
)
steps = st.one_of(
    st.tuples(st.just("node"), offers),
    st.tuples(st.just("node"), offers),
    st.tuples(st.just("drop"), names),
    st.tuples(st.just("gone"), st.integers(0, 30)),
    st.tuples(st.just("fill"), st.booleans()),
    st.tuples(st.just("pod"), st.integers(0, 5)),
    st.tuples(st.just("pod"), st.integers(0, 5)),
    st.tuples(st.just("pod"), st.integers(0, 5)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(demands, min_size=6, max_size=6), st.lists(steps, min_size=5, max_size=60))
def test_the_tables_choose_as_the_plain_scan_does(classes: list[Demand], history: list[tuple[str, object]]) -> None:
    snapshot, fills = Snapshot(), False
    for number, (what, value) in enumerate(history):
        if isinstance(value, Offer):
            snapshot.set_node(value)
        elif what == "fill":
            fills = bool(value)
            snapshot.fill_nodes(fills)
        elif what == "drop":
            snapshot.remove_node(str(value))
        elif what == "gone":
            snapshot.remove(f"pod-{value}")
        else:
            assert isinstance(value, int)
            _place(snapshot, classes[value], f"pod-{number}", fills)


def _place(snapshot: Snapshot, demand: Demand, uid: str, fills: bool) -> None:
    expected = scan(demand, snapshot.nodes, fills=fills)
    chosen = snapshot.choose(demand)
    assert chosen == expected
    if chosen is not None:
        snapshot.place(uid, chosen, demand)
        return
    refusal = snapshot.refusal(demand)
    assert refusal == refuse(demand, snapshot.nodes)
    assert (len(snapshot) == 0) == (not refusal.reasons)


@settings(max_examples=50, deadline=None)
@given(st.lists(offers, min_size=1, max_size=8, unique_by=lambda offer: offer.name), st.lists(demands, max_size=30))
def test_no_node_is_ever_given_more_than_it_has(nodes: list[Offer], wanted: list[Demand]) -> None:
    snapshot = Snapshot()
    for offer in nodes:
        snapshot.set_node(offer)
    for number, demand in enumerate(wanted):
        chosen = snapshot.choose(demand)
        if chosen is not None:
            snapshot.place(str(number), chosen, demand)
    for node in snapshot.nodes:
        asked = [demand for demand in wanted if demand.milli_cpu]
        assert node.pods <= node.offer.pods
        assert not asked or node.milli_cpu <= max(node.offer.milli_cpu, 0)
        assert all(count == 1 for count in node.ports.values())
