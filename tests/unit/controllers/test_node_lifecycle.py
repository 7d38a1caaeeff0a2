"""Silence, conditions, taints, zones and evictions, each by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stark.controllers.node_lifecycle.eviction import TaintAges, evict_at, plan_evictions
from stark.controllers.node_lifecycle.health import (
    Health,
    asked,
    beat_of,
    condemned_after_s,
    grace_s,
    hear,
    silent_conditions,
    suspect_condition,
)
from stark.controllers.node_lifecycle.settings import NodeSettings
from stark.controllers.node_lifecycle.tainting import wanted_taints
from stark.controllers.node_lifecycle.zones import Bucket, Census, Pace, State, Zones, all_lost, rate_per_s, state_of
from stark.crds.conditions import find_condition
from stark.crds.coordination import Lease
from stark.crds.meta import decode
from stark.crds.nodes import Node, Taint
from stark.crds.pods import Pod
from tests.support.workloads import NOW, at, node, pod

SETTINGS = NodeSettings()
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"


def lease(renewed: float) -> Lease:
    return decode(
        {"metadata": {"name": "a", "namespace": "kube-node-lease"}, "spec": {"renewTime": at(renewed)}}, Lease
    )


def test_a_node_seen_for_the_first_time_has_just_been_heard_of() -> None:
    """After a start the leases may look as old as our absence was long; that says nothing about the nodes."""
    assert hear(None, node("a"), beat_of(node("a"), lease(-3600)), 500.0).heard_at == 500.0


@pytest.mark.parametrize(
    ("beat", "uid", "heard_at"),
    [
        pytest.param(lease(0), "uid-a", 10.0, id="the same beat is no news"),
        pytest.param(lease(10), "uid-a", 50.0, id="a renewed lease is"),
        pytest.param(lease(-10), "uid-a", 50.0, id="whatever the node's clock says"),
        pytest.param(lease(0), "uid-other", 50.0, id="and so is a node of the same name"),
    ],
)
def test_only_a_change_of_the_beat_counts(beat: Lease, uid: str, heard_at: float) -> None:
    known = Health(uid, beat_of(node("a"), lease(0)), 10.0)
    assert hear(known, node("a"), beat_of(node("a"), beat), 50.0).heard_at == heard_at


@pytest.mark.parametrize(
    ("asked_at", "now", "wait_s"),
    [
        pytest.param(None, 20.0, 10.0, id="asked in time: the rest of its time"),
        pytest.param(20.0, 30.0, 0.0, id="and again when that is over: now"),
        pytest.param(20.0, 29.0, 1.0, id="asked again early, for some other reason: the rest"),
        pytest.param(20.0, 34.0, 0.0, id="a little late is the same"),
        pytest.param(None, 60.0, 10.0, id="the server was away all the time: time for a heartbeat"),
        pytest.param(20.0, 60.0, 10.0, id="and when it went away between the two"),
    ],
)
def test_nobody_is_lost_before_the_server_has_said_twice_that_nothing_was_heard(
    asked_at: float | None, now: float, wait_s: float
) -> None:
    health = asked(Health("uid-a", (None, None, ""), 0.0, asked_at), now, 10.0)
    assert condemned_after_s(health, now, 30.0, 10.0) == wait_s


def test_a_node_that_never_said_anything_has_longer() -> None:
    assert grace_s(node("a"), SETTINGS) == 40
    assert grace_s(node("a", ready=None), SETTINGS) == 60


def test_a_silent_node_is_unknown_since_now_and_only_once() -> None:
    silent = node("a")
    conditions = silent_conditions(silent, NOW)
    assert conditions is not None
    ready = find_condition(conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.last_transition_time) == ("Unknown", "NodeStatusUnknown", NOW)
    assert ready.last_heartbeat_time == NOW - timedelta(seconds=10)
    known = silent.model_copy(update={"status": silent.status.model_copy(update={"conditions": conditions})})
    assert silent_conditions(known, NOW + timedelta(seconds=5)) is None


def test_a_node_that_never_reported_is_unknown_too() -> None:
    conditions = silent_conditions(node("a", ready=None), NOW)
    assert conditions is not None
    assert [(each.status, each.reason) for each in conditions] == [("Unknown", "NodeStatusNeverUpdated")]


def test_missed_beats_make_a_node_suspect_and_the_next_one_clears_it() -> None:
    quiet = node("a")
    conditions = suspect_condition(quiet, silent_s=21.4, now=NOW)
    assert conditions is not None
    told = find_condition(conditions, "Suspect")
    assert told is not None
    assert (told.status, told.reason, told.message) == (
        "True",
        "HeartbeatMissed",
        "The agent has said nothing for 21 s.",
    )
    suspect = quiet.model_copy(update={"status": quiet.status.model_copy(update={"conditions": conditions})})
    assert suspect_condition(suspect, silent_s=25.0, now=NOW) is None
    taints = wanted_taints(suspect, list(conditions), evict=False, now=NOW)
    assert [(taint.key, taint.effect) for taint in taints or ()] == [("stark.dev/suspect", "PreferNoSchedule")]
    cleared = suspect_condition(suspect, silent_s=None, now=NOW)
    assert cleared is not None
    assert wanted_taints(suspect, list(cleared), evict=False, now=NOW) is None
    assert suspect_condition(quiet, silent_s=None, now=NOW) is None


@pytest.mark.parametrize(
    ("after", "heard_at"),
    [
        pytest.param("i.p2", 50.0, id="a node that is claimed anew is alive"),
        pytest.param(None, 10.0, id="that its holder was taken off is no sign of life"),
    ],
)
def test_a_new_life_is_heard_and_the_end_of_one_is_not(after: str | None, heard_at: float) -> None:
    def held(holder: str | None) -> Node:
        given = node("a")
        annotations = {"stark.dev/agent": holder} if holder else {}
        return given.model_copy(update={"metadata": given.metadata.model_copy(update={"annotations": annotations})})

    known = Health("uid-a", beat_of(held("i.p1"), lease(0)), 10.0)
    assert hear(known, held(after), beat_of(held(after), lease(0)), 50.0).heard_at == heard_at


MINE = {"key": "mine", "value": "x", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("node", "evict", "expected"),
    [
        pytest.param(node("a"), False, None, id="a ready node needs none"),
        pytest.param(node("a", ready="False"), False, [(NOT_READY, "NoSchedule")], id="not ready keeps new pods away"),
        pytest.param(
            node("a", ready="Unknown"),
            True,
            [(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")],
            id="unreachable moves pods away when that is allowed",
        ),
        pytest.param(
            node("a", ready=None), False, [(NOT_READY, "NoSchedule")], id="a node without status is not ready"
        ),
        pytest.param(
            node("a", spec={"unschedulable": True}),
            False,
            [("node.kubernetes.io/unschedulable", "NoSchedule")],
            id="a cordoned node is tainted as such",
        ),
        pytest.param(
            node("a", spec={"taints": [MINE, {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": at(0)}]}),
            True,
            [("mine", "NoSchedule")],
            id="a node that is back loses our taints and keeps others",
        ),
        pytest.param(
            node(
                "a", ready="Unknown", spec={"taints": [{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": at(0)}]}
            ),
            False,
            [(UNREACHABLE, "NoSchedule")],
            id="when nothing may be evicted the taint that evicts goes",
        ),
        pytest.param(
            node("a", ready="Unknown", spec={"taints": [{"key": UNREACHABLE, "effect": "NoSchedule"}]}),
            False,
            None,
            id="a taint that is there is not put on again",
        ),
    ],
)
def test_taints_follow_the_conditions(node: Node, evict: bool, expected: list[tuple[str, str]] | None) -> None:
    taints = wanted_taints(node, node.status.conditions, evict=evict, now=NOW)
    assert (None if taints is None else [(taint.key, taint.effect) for taint in taints]) == expected


def test_an_evicting_taint_gets_its_time_also_when_a_person_put_it_on() -> None:
    tainted = node("a", spec={"taints": [{"key": "mine", "effect": "NoExecute"}]})
    taints = wanted_taints(tainted, tainted.status.conditions, evict=False, now=NOW)
    assert taints is not None
    assert [taint.time_added for taint in taints] == [NOW]


@pytest.mark.parametrize(
    ("zone", "state"),
    [
        pytest.param(Census(3, 0), State.NORMAL, id="all well is normal"),
        pytest.param(Census(1, 1), State.NORMAL, id="one of two is normal"),
        pytest.param(Census(1, 2), State.NORMAL, id="two are too few to be most"),
        pytest.param(Census(2, 3), State.PARTIAL, id="three of five are most"),
        pytest.param(Census(0, 1), State.FULL, id="the only one is everything"),
    ],
)
def test_a_zone_is_disrupted(zone: Census, state: State) -> None:
    assert state_of(zone, SETTINGS) is state


@pytest.mark.parametrize(
    ("zones", "rate"),
    [
        pytest.param({"a": Census(9, 1)}, 0.1, id="at the usual pace from a healthy zone"),
        pytest.param({"a": Census(3, 7)}, 0.0, id="not at all while most of a small zone is gone"),
        pytest.param({"a": Census(30, 70)}, 0.01, id="slowly while most of a large zone is gone"),
        pytest.param({"a": Census(0, 5), "b": Census(5, 0)}, 0.1, id="at the usual pace from a zone that is gone"),
        pytest.param({"a": Census(0, 5), "b": Census(0, 5)}, 0.0, id="not at all when everything is gone"),
    ],
)
def test_pods_are_moved_away(zones: dict[str, Census], rate: float) -> None:
    assert rate_per_s(zones, "a", SETTINGS) == rate


def test_nodes_are_counted_by_zone() -> None:
    zone_a, zone_b = ({"topology.kubernetes.io/zone": zone} for zone in "ab")
    nodes = [node("1", labels=zone_a), node("2", ready="Unknown", labels=zone_a), node("3", ready=None, labels=zone_b)]
    zones = Zones()
    for each in nodes:
        zones.note(each)
    assert zones.counts == {":a": Census(1, 1), ":b": Census(0, 1)}
    assert not all_lost(zones.counts, SETTINGS)
    zones.note(node("1", ready="Unknown", labels=zone_b))
    zones.note(node("4", labels={**zone_b, "node.kubernetes.io/exclude-disruption": ""}))
    zones.forget("2")
    zones.forget("never seen")
    assert zones.counts == {":b": Census(0, 2)}
    assert all_lost(zones.counts, SETTINGS)
    assert not all_lost({}, SETTINGS)


def test_one_node_goes_at_once_and_the_next_when_the_rate_allows() -> None:
    bucket = Bucket()
    assert bucket.wait_s(0.1, 100) == 0
    bucket.take(100)
    assert bucket.wait_s(0.1, 104) == 6
    assert bucket.wait_s(0.1, 111) == 0
    assert bucket.wait_s(0, 111) is None


def test_nodes_get_time_to_follow_the_first_that_is_back_after_all_were_lost() -> None:
    pace = Pace()
    assert [pace.turn_in_s("a", 0.1, 40, now) for now in (100, 104)] == [0, 6]
    pace.stop()
    assert pace.turn_in_s("b", 0.1, 40, 200) == 40
    assert pace.turn_in_s("b", 0.1, 40, 239) == 1
    assert [pace.turn_in_s("b", 0.1, 40, 240), pace.turn_in_s("b", 0.1, 40, 241)] == [0, 9]
    assert pace.turn_in_s("b", 0, 40, 300) is None


def tolerating(*tolerations: dict[str, object]) -> Pod:
    return pod("p", node="a", spec={"tolerations": list(tolerations)})


ADDED = Taint(key=UNREACHABLE, effect="NoExecute", time_added=NOW)


@pytest.mark.parametrize(
    ("pod", "after_s"),
    [
        pytest.param(tolerating(), 0, id="at once without a toleration"),
        pytest.param(tolerating({"key": UNREACHABLE, "operator": "Exists"}), None, id="never with one for ever"),
        pytest.param(
            tolerating({"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 120}),
            120,
            id="when its seconds are over",
        ),
        pytest.param(
            tolerating(
                {"operator": "Exists", "tolerationSeconds": 300},
                {"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 60},
            ),
            60,
            id="when the shortest of several is over",
        ),
        pytest.param(
            tolerating({"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": -5}), 0, id="at once below zero"
        ),
        pytest.param(
            tolerating({"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}),
            0,
            id="at once when only another effect is tolerated",
        ),
    ],
)
def test_a_pod_leaves_a_tainted_node(pod: Pod, after_s: int | None) -> None:
    due = evict_at(pod, [ADDED], NOW)
    assert due == (None if after_s is None else NOW + timedelta(seconds=after_s))


def test_soft_taints_evict_nobody() -> None:
    assert evict_at(tolerating(), [Taint(key="x", effect="NoSchedule")], NOW) is None


def test_evictions_count_from_the_taints_time_and_spare_what_is_leaving() -> None:
    patient = tolerating({"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 120})
    leaving = pod("q", node="a", metadata={"deletionTimestamp": at(0)})
    early = plan_evictions([ADDED], [patient, leaving], NOW + timedelta(seconds=20))
    assert (early.now, early.recheck_after_s) == ([], 100)
    late = plan_evictions([ADDED], [patient, leaving], NOW + timedelta(seconds=121))
    assert (late.now, late.recheck_after_s) == ([patient], None)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_step_of_the_clock_neither_empties_nodes_nor_keeps_pods_on_them(hours: int) -> None:
    patient = tolerating({"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 120})
    ages, stepped = TaintAges(), NOW + timedelta(hours=hours)
    assert ages.aged("a", [ADDED], NOW + timedelta(seconds=20), 500.0) == [ADDED]
    early = plan_evictions(ages.aged("a", [ADDED], stepped, 599.0), [patient], stepped)
    assert (early.now, early.recheck_after_s) == ([], 1)
    assert plan_evictions(ages.aged("a", [ADDED], stepped, 600.0), [patient], stepped).now == [patient]
    # Put on anew it counts anew, and so does one that was never seen: then the time of day is all there is.
    again = ADDED.model_copy(update={"time_added": stepped})
    assert plan_evictions(ages.aged("a", [again], stepped, 601.0), [patient], stepped).recheck_after_s == 120
    restarted = NOW + timedelta(seconds=121)
    assert plan_evictions(TaintAges().aged("a", [ADDED], restarted, 0.0), [patient], restarted).now == [patient]
