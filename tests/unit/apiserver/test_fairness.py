"""Where requests belong, how wide they are, how the gate lets them in, and which objects are kept."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from stark.apiserver.admission.validate_flowcontrol import flow_schema_causes, priority_level_causes
from stark.apiserver.cache.bell import BELL
from stark.apiserver.cache.feed import Feed
from stark.apiserver.cache.filter import EVERYTHING
from stark.apiserver.cache.resource_cache import Prefix
from stark.apiserver.cache.watchers import Watcher
from stark.apiserver.errors import TooManyRequests
from stark.apiserver.fairness.classification import Schema
from stark.apiserver.fairness.demand import Demand
from stark.apiserver.fairness.gate import Gate, Seat
from stark.apiserver.fairness.levels import FLOW_SCHEMA_UID, FLOWS_MAX, PATH_REMEMBERED_MAX, Levels
from stark.apiserver.fairness.metrics import FairnessCollector
from stark.apiserver.fairness.objects import AUTO_UPDATE, MANDATORY, SUGGESTED, abandoned, fixed_spec, put_right
from stark.apiserver.fairness.widths import Widths
from stark.apiserver.request import Query, User
from stark.apiserver.routes import Asked, parse
from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import KeyValue, Revision
from tests.support.server_side import ADMIN, ALICE, CONTROLLERS, node_user

Object = dict[str, Any]
ROBOT = User("system:serviceaccount:team:robot", ("system:serviceaccounts", "system:authenticated"))
SYSTEM_ROBOT = User("system:serviceaccount:kube-system:dns", ("system:serviceaccounts", "system:authenticated"))
NOBODY = User("system:anonymous", ("system:unauthenticated",))
PODS = "/api/v1/namespaces/a/pods"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/a/leases/x"


def asked(path: str, method: str = "GET", query: str = "") -> Asked:
    return parse(method, path, Query(query))


def level(name: str, shares: int = 30, queues: int = 0, length: int = 2) -> Object:
    response: Object = {"type": "Reject"}
    if queues:
        response = {"type": "Queue", "queuing": {"queues": queues, "handSize": 1, "queueLengthLimit": length}}
    limited = {"nominalConcurrencyShares": shares, "lendablePercent": 0, "limitResponse": response}
    spec = {"type": "Limited", "limited": limited}
    return {"kind": "PriorityLevelConfiguration", "metadata": {"name": name, "uid": f"level-{name}"}, "spec": spec}


def schema(name: str, to: str, *subjects: Object, precedence: int = 50, by: str = "", **rule: Any) -> Object:
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    spec: Object = {
        "priorityLevelConfiguration": {"name": to},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": list(subjects), "resourceRules": [{**everything, **rule}]}],
    }
    if by:
        spec["distinguisherMethod"] = {"type": by}
    return {"kind": "FlowSchema", "metadata": {"name": name, "uid": f"schema-{name}"}, "spec": spec}


ANYBODY = {"kind": "Group", "group": {"name": "*"}}


@pytest.mark.parametrize(
    ("user", "path", "method", "schema_name", "level_name"),
    [
        (ADMIN, PODS, "GET", "exempt", "exempt"),
        (NOBODY, "/livez", "GET", "probes", "exempt"),
        (node_user("n"), "/api/v1/nodes/n/status", "PATCH", "system-node-high", "node-high"),
        (node_user("n"), PODS, "GET", "system-nodes", "system"),
        (CONTROLLERS, LEASE, "PUT", "system-leader-election", "leader-election"),
        (CONTROLLERS, PODS, "POST", "stark-controllers", "workload-high"),
        (SYSTEM_ROBOT, PODS, "GET", "kube-system-service-accounts", "workload-high"),
        (ROBOT, PODS, "GET", "service-accounts", "workload-low"),
        (ALICE, PODS, "GET", "global-default", "global-default"),
        (NOBODY, "/version", "GET", "global-default", "global-default"),
        (User("stray"), PODS, "GET", "catch-all", "catch-all"),
    ],
)  # fmt: skip
def test_the_suggested_schemas_tell_who_is_important(
    user: User, path: str, method: str, schema_name: str, level_name: str
) -> None:
    levels = Levels(600, 0.0)
    levels.apply(SUGGESTED, 0.0)
    flow = levels.flow_of(user, asked(path, method))
    assert (flow.level.name, flow.counts is flow.level.counts[schema_name]) == (level_name, True)


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        pytest.param({}, PODS, True, id="everything"),
        pytest.param({"verbs": ["get"]}, PODS, False, id="another verb"),
        pytest.param({"apiGroups": ["apps"]}, PODS, False, id="another group"),
        pytest.param({"resources": ["pods"]}, f"{PODS}/x/log", False, id="a resource is not its subresources"),
        pytest.param({"resources": ["pods/log"]}, f"{PODS}/x/log", True, id="a subresource"),
        pytest.param({"namespaces": ["b"]}, PODS, False, id="another namespace"),
        pytest.param({"namespaces": []}, PODS, False, id="the cluster's scope only"),
        pytest.param({"namespaces": []}, "/api/v1/nodes", True, id="at the cluster's scope"),
        pytest.param({"clusterScope": False}, "/api/v1/nodes", False, id="namespaces only"),
        pytest.param({}, "/version", False, id="a path is no resource"),
    ],
)
def test_a_rule_matches_what_it_names(rule: Object, path: str, matches: bool) -> None:
    assert Schema.of(schema("s", "l", ANYBODY, **rule)).matches(ALICE, asked(path)) is matches


@pytest.mark.parametrize(
    ("subject", "user", "matches"),
    [
        ({"kind": "User", "user": {"name": "alice"}}, ALICE, True),
        ({"kind": "User", "user": {"name": "*"}}, ALICE, True),
        ({"kind": "User", "user": {"name": "bob"}}, ALICE, False),
        ({"kind": "Group", "group": {"name": "system:authenticated"}}, ALICE, True),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "team", "name": "robot"}}, ROBOT, True),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "team", "name": "*"}}, ROBOT, True),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "tea", "name": "*"}}, ROBOT, False),
    ],
)
def test_a_subject_is_who_it_names(subject: Object, user: User, matches: bool) -> None:
    assert Schema.of(schema("s", "l", subject)).matches(user, asked(PODS)) is matches


def test_paths_match_whole_or_by_prefix() -> None:
    made = schema("s", "l", ANYBODY)
    made["spec"]["rules"][0]["nonResourceRules"] = [{"verbs": ["get"], "nonResourceURLs": ["/a", "/b/*"]}]
    found = Schema.of(made)
    assert [found.matches(ALICE, asked(path)) for path in ("/a", "/a/x", "/b/x", "/b")] == [True, False, True, False]


def test_the_lowest_precedence_decides_then_the_name_and_a_missing_level_does_not_count() -> None:
    levels = Levels(100, 0.0)
    dangling = schema("dangling", "nowhere", ANYBODY, precedence=2)
    first, second = schema("a", "mine", ANYBODY), schema("b", "other", ANYBODY)
    levels.apply([level("mine"), level("other"), second, first, dangling], 0.0)
    flow = levels.flow_of(ALICE, asked(PODS))
    assert (flow.level.name, flow.headers[FLOW_SCHEMA_UID]) == ("mine", "schema-a")


def test_flows_are_told_apart_by_user_or_namespace_and_remembered_within_bounds() -> None:
    levels = Levels(100, 0.0)
    levels.apply([level("l", queues=64), schema("s", "l", ANYBODY, by="ByNamespace")], 0.0)
    queuing = levels.by_name["l"].queues.queuing
    assert queuing is not None
    hands = {tuple(levels.flow_of(ALICE, asked(PODS.replace("a/", f"{n}/"))).hand(queuing)) for n in range(50)}
    assert len(hands) > 20
    same = {tuple(levels.flow_of(User(f"u{n}"), asked(PODS)).hand(queuing)) for n in range(50)}
    assert len(same) == 1
    for number in range(FLOWS_MAX):
        levels.flow_of(ALICE, asked(f"/made/up/{number}"))
    assert len(levels._flows) <= FLOWS_MAX


def test_long_paths_are_classified_and_not_remembered() -> None:
    levels = Levels(100, 0.0)
    long = levels.flow_of(ALICE, asked("/made/up/" + "x" * PATH_REMEMBERED_MAX))
    assert (long.level.name, len(levels._flows)) == ("catch-all", 0)


async def test_lists_are_as_wide_as_the_objects_they_look_at_and_writes_as_their_watchers() -> None:
    feed = Feed(MemoryStore())
    prefix = Prefix("core", "pods")
    cache = feed.add(prefix)
    keys = [f"{'a' if number < 250 else 'b'}/p{number}" for number in range(450)]
    revision = Revision(1)
    cache.load((KeyValue(bytes(prefix) + key.encode(), b'{"metadata":{}}', revision, revision, 1) for key in keys), 1)

    def seats(path: str, method: str = "GET", query: str = "", most: int = 10) -> int:
        return Widths(feed).seats(asked(path, method, query), Query(query), most)

    assert seats("/api/v1/pods") == 5
    assert seats(PODS) == 3
    assert seats(PODS, most=2) == 2
    assert seats(PODS, query="limit=50") == 1
    assert [seats(PODS, query=f"limit={limit}") for limit in ("0", "9" * 5_000, "\u00b2", "-1")] == [3] * 4
    assert seats(PODS, query="limit=50&labelSelector=a%3Db") == 3
    assert seats(PODS, query="fieldSelector=metadata.name%3Dp1") == 1
    assert seats(PODS, "DELETE") == 3
    assert seats(PODS, query="watch=1") == 3
    assert seats(PODS, query="watch=1&resourceVersion=5") == 1
    assert seats(PODS, query="watch=1&resourceVersion=5&sendInitialEvents=true") == 3
    assert [seats(f"{PODS}/x"), seats(PODS, "POST"), seats("/version")] == [1, 1, 1]
    for _ in range(250):
        cache.watch_from_now(Watcher(BELL), EVERYTHING, initial_events=False)
    assert seats(PODS, "POST") == 3


def gate(seats: int, queues: int = 4, length: int = 2, timeout_s: float = 60.0) -> Gate:
    """A gate whose level `l` has all the seats but those of the mandatory ones."""
    made = Gate(seats, timeout_s)
    made.apply([level("l", 1_000_000, queues, length), schema("s", "l", ANYBODY, by="ByUser")])
    return made


def enter(at: Gate, user: User = ALICE) -> Seat:
    return at.enter(at.levels.flow_of(user, asked(PODS)), 1)


async def test_who_waits_goes_when_a_seat_is_free() -> None:
    at = gate(1)
    first, second = enter(at), enter(at)
    assert (first.executing, second.executing) == (True, False)
    waiting = asyncio.create_task(at.turn(second))
    await asyncio.sleep(0)
    at.leave(first)
    await waiting
    assert second.executing
    at.leave(second)
    at.leave(second)
    assert at.levels.by_name["l"].queues.in_use == 0


async def test_who_has_waited_long_enough_is_told_to_come_back() -> None:
    at = gate(1, timeout_s=0.04)
    running, late = enter(at), enter(at)
    with pytest.raises(TooManyRequests) as refusal:
        await at.turn(late)
    assert refusal.value.retry_after_s == 1
    counts = late.flow.counts
    assert (counts.waiting, counts.executing, counts.rejected) == (0, 1, {"time-out": 1})
    at.leave(running)
    assert enter(at).executing, "its place and its seat are free"


async def test_a_full_queue_refuses() -> None:
    at = gate(1, queues=1, length=1)
    enter(at)
    enter(at)
    with pytest.raises(TooManyRequests):
        enter(at)


@pytest.mark.parametrize("is_its_turn", [False, True], ids=["while it waits", "in the moment its turn has come"])
async def test_a_cancelled_request_holds_nothing(is_its_turn: bool) -> None:
    at = gate(1)
    running, second, third = enter(at), enter(at), enter(at, User("bob", ALICE.groups))
    waiting = [asyncio.create_task(at.turn(seat)) for seat in (second, third)]
    await asyncio.sleep(0)
    if is_its_turn:
        at.leave(running)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    if not is_its_turn:
        at.leave(running)
    await waiting[1]
    queues = at.levels.by_name["l"].queues
    assert (third.executing, second.executing, queues.in_use, queues.waiting) == (True, False, 1, 0)
    counts = second.flow.counts
    assert (counts.waiting, counts.waiting_seats) == (0, 0)
    assert (counts.executing, counts.executing_seats) == (1, 1), "only the third"


async def test_a_level_that_is_removed_serves_those_it_has() -> None:
    at = gate(1)
    running, waits = enter(at), enter(at)
    waiting = asyncio.create_task(at.turn(waits))
    await asyncio.sleep(0)
    at.apply([])
    assert enter(at).flow.level.name == "catch-all"
    at.leave(running)
    await waiting
    assert waits.executing


async def test_a_level_under_pressure_borrows_seats_that_others_lend() -> None:
    lender = level("lender", 90)
    lender["spec"]["limited"]["lendablePercent"] = 100
    clock = iter(range(1_000))
    at = Gate(100, 60.0, clock=lambda: float(next(clock)))
    at.apply([lender, level("l", 5, 4, 50), schema("s", "l", ANYBODY, by="ByUser")])
    own = at.levels.by_name["l"].bounds.nominal
    seats = [enter(at) for _ in range(40)]
    assert sum(seat.executing for seat in seats) == own
    waiting = [asyncio.create_task(at.turn(seat)) for seat in seats if not seat.executing]
    await asyncio.sleep(0)
    at.divide()
    await asyncio.gather(*waiting)
    assert all(seat.executing for seat in seats)
    assert at.levels.by_name["l"].queues.limit >= 40


def test_what_is_counted_is_told_under_kubernetes_names() -> None:
    at = gate(1)
    enter(at)
    enter(at)
    told = {
        (sample.name, sample.labels.get("flow_schema"), sample.labels.get("le")): sample.value
        for metric in FairnessCollector(at.levels).collect()
        for sample in metric.samples
        if sample.labels.get("priority_level") == "l"
    }
    prefix = "apiserver_flowcontrol"
    assert told[(f"{prefix}_dispatched_requests_total", "s", None)] == 1
    assert told[(f"{prefix}_current_inqueue_requests", "s", None)] == 1
    assert told[(f"{prefix}_current_executing_requests", "s", None)] == 1
    assert told[(f"{prefix}_request_wait_duration_seconds_bucket", "s", "0")] == 1
    assert told[(f"{prefix}_request_wait_duration_seconds_bucket", "s", "+Inf")] == 1
    assert told[(f"{prefix}_current_limit_seats", None, None)] == 1


def test_demand_is_averaged_over_the_time_it_lasted() -> None:
    demand = Demand(0.0)
    demand.move(10, 1.0)
    demand.move(0, 2.0)
    observed = demand.take(4.0)
    assert (observed.highest, observed.average) == (10, 2.5)
    assert round(observed.deviation, 3) == 4.33
    assert demand.take(4.0).highest == 0


OURS = next(each for each in SUGGESTED if each["metadata"]["name"] == "workload-low")


def stored(told: str = "", generation: int = 1, **limited: Any) -> Object:
    obj = copy.deepcopy(OURS)
    obj["metadata"] |= {"generation": generation, "annotations": {AUTO_UPDATE: told} if told else {}}
    obj["spec"]["limited"] |= limited
    return obj


@pytest.mark.parametrize(
    ("there", "told", "shares"),
    [
        pytest.param(None, "true", 100, id="what is missing is made"),
        pytest.param(stored("true", 5, nominalConcurrencyShares=7), "true", 100, id="ours is kept as it is here"),
        pytest.param(stored("", 1, nominalConcurrencyShares=7), "true", 100, id="an unedited one follows us"),
        pytest.param(stored("", 2, nominalConcurrencyShares=7), "false", 7, id="an edited one is its editor's"),
    ],
)
def test_a_suggested_object_is_put_right(there: Object | None, told: str, shares: int) -> None:
    new = put_right(OURS, there)
    assert new is not None
    assert new["metadata"]["annotations"][AUTO_UPDATE] == told
    assert new["spec"]["limited"]["nominalConcurrencyShares"] == shares
    assert put_right(OURS, new) is None, "once is enough"


@pytest.mark.parametrize("there", [stored("true"), stored("false", 3, nominalConcurrencyShares=7)])
def test_what_is_as_it_should_be_is_left(there: Object) -> None:
    assert put_right(OURS, there) is None


def test_an_object_of_ours_that_we_no_longer_have_goes_and_users_stay() -> None:
    mine = level("mine")
    old = copy.deepcopy(mine)
    old["metadata"] |= {"name": "old", "annotations": {AUTO_UPDATE: "true"}}
    assert abandoned([mine, old, stored("true")]) == [old]


def test_the_exempt_level_may_lend_what_its_operators_say() -> None:
    exempt = next(each for each in MANDATORY if each["metadata"]["name"] == "exempt" and "Level" in each["kind"])
    tuned = copy.deepcopy(exempt)
    tuned["spec"]["exempt"] = {"nominalConcurrencyShares": 10, "lendablePercent": 50}
    assert fixed_spec(tuned) == tuned["spec"]
    assert not list(priority_level_causes(tuned))


@pytest.mark.parametrize("obj", [*MANDATORY, *SUGGESTED], ids=lambda obj: f"{obj['kind']} {obj['metadata']['name']}")
def test_what_comes_with_us_is_valid(obj: Object) -> None:
    judge = priority_level_causes if obj["kind"] == "PriorityLevelConfiguration" else flow_schema_causes
    assert not list(judge(obj))


def changed(obj: Object, path: str, value: Any) -> Object:
    made = copy.deepcopy(obj)
    *parents, last = path.split(".")
    at: Any = made
    for key in parents:
        at = at[int(key)] if key.isdecimal() else at[key]
    at[last] = value
    return made


QUEUED = level("l", 30, 64)
ROBOTS = schema("s", "l", ANYBODY)
QUEUING = "spec.limited.limitResponse.queuing"
RULE = "spec.rules.0"


@pytest.mark.parametrize(
    ("obj", "path", "value", "field", "message"),
    [
        (QUEUED, "spec.type", "Exempt", "spec.type", "must be 'Exempt' if and only if `name` is 'exempt'"),
        (QUEUED, "spec.limited", None, "spec.limited", "must not be empty when type is Limited"),
        (QUEUED, "spec.exempt", {}, "spec.exempt", "must be nil if the type is Limited"),
        (QUEUED, "spec.limited.lendablePercent", 101, "spec.limited.lendablePercent", "between 0 and 100"),
        (QUEUED, "spec.limited.borrowingLimitPercent", -1, "spec.limited.borrowingLimitPercent", "non-negative"),
        (QUEUED, f"{QUEUING}.handSize", 65, f"{QUEUING}.handSize", "should not be greater than queues (64)"),
        (QUEUED, f"{QUEUING}.handSize", 20, f"{QUEUING}.handSize", "required entropy bits"),
        (QUEUED, f"{QUEUING}.queueLengthLimit", 0, f"{QUEUING}.queueLengthLimit", "must be positive"),
        (QUEUED, "spec.limited.limitResponse.type", "Reject", QUEUING, "must be nil"),
        (QUEUED, QUEUING, None, QUEUING, "must not be empty"),
        (ROBOTS, "spec.matchingPrecedence", 1, "spec.matchingPrecedence", "only the schema named 'exempt'"),
        (ROBOTS, "spec.matchingPrecedence", 10_001, "spec.matchingPrecedence", "between 1 and 10000"),
        (ROBOTS, f"{RULE}.subjects", [], "spec.rules[0].subjects", "must contain at least one value"),
        (ROBOTS, f"{RULE}.subjects.0.user", {"name": "x"}, "spec.rules[0].subjects[0].user", "is forbidden when"),
        (ROBOTS, f"{RULE}.subjects.0.group", None, "spec.rules[0].subjects[0].group", "group is required when"),
        (ROBOTS, f"{RULE}.resourceRules", [], "spec.rules[0]", "at least one of resourceRules and nonResourceRules"),
        (ROBOTS, f"{RULE}.resourceRules.0.verbs", ["get", "*"], "spec.rules[0].resourceRules[0].verbs", "must not specify"),
        (ROBOTS, f"{RULE}.resourceRules.0.verbs", ["eat"], "spec.rules[0].resourceRules[0].verbs", "Unsupported value"),
        (ROBOTS, f"{RULE}.nonResourceRules", [{"verbs": ["get"], "nonResourceURLs": ["/a*b"]}],
         "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]", "wildcard can only do suffix matching"),
        (MANDATORY[1], "spec.limited.nominalConcurrencyShares", 50, "spec", "must equal the fixed value"),
        (MANDATORY[3], "spec.matchingPrecedence", 5, "spec", "must equal the fixed value"),
    ],
)  # fmt: skip
def test_a_wrong_object_is_told_where(obj: Object, path: str, value: Any, field: str, message: str) -> None:
    judge = priority_level_causes if obj["kind"] == "PriorityLevelConfiguration" else flow_schema_causes
    assert not list(judge(obj))
    found = {cause.field: cause.message for cause in judge(changed(obj, path, value))}
    assert message in found[field]


def test_namespaces_are_needed_below_the_clusters_scope() -> None:
    made = changed(
        changed(ROBOTS, f"{RULE}.resourceRules.0.namespaces", []), f"{RULE}.resourceRules.0.clusterScope", False
    )
    assert [cause.field for cause in flow_schema_causes(made)] == ["spec.rules[0].resourceRules[0].namespaces"]
