"""What roles and bindings allow, what may be handed on, and which roles there are from the beginning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stark.apiserver.auth.rbac.bootstrap import cluster_role_bindings, cluster_roles, is_of_another_role, put_right
from stark.apiserver.auth.rbac.covering import missing, told
from stark.apiserver.auth.rbac.grants import rule_of
from stark.apiserver.request import User
from tests.support.roles import Roles, asking, binding, bootstrapped, role, rule

READER = role("reader", rule("get list", "pods"), namespace="a")
C_READER = role("reader", rule("get", "pods"))
HERE = binding("b", "ClusterRole/reader", "u", namespace="a")
PROBER: Any = {**role("prober"), "rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics", "/debug/*"]}]}
ROBOT = User("system:serviceaccount:a:robot", ("system:serviceaccounts", "system:serviceaccounts:a"))


@pytest.mark.parametrize(
    ("objects", "asked", "allowed"),
    [
        ([READER, binding("b", "reader", "u", namespace="a")], asking("u", "get", "pods", namespace="a"), True),
        ([READER, binding("b", "reader", "u", namespace="a")], asking("u", "get", "pods", namespace="b"), False),
        ([READER, binding("b", "reader", "u", namespace="a")], asking("u", "get", "pods"), False),
        ([READER, binding("b", "reader", "u", namespace="a")], asking("v", "get", "pods", namespace="a"), False),
        ([READER, binding("b", "reader", "u", namespace="a")], asking("u", "get", "pods/log", namespace="a"), False),
        ([READER, binding("b", "reader", "u", namespace="a")], asking("u", "watch", "pods", namespace="a"), False),
        ([READER, binding("b", "reader", "u", namespace="b")], asking("u", "get", "pods", namespace="b"), False),
        ([READER, binding("b", "reader", "group:u", namespace="a")], asking("u", "get", "pods", namespace="a"), False),
        (
            [READER, binding("b", "reader", "group:g", namespace="a")],
            asking(User("u", ("f", "g")), "list", "pods", namespace="a"),
            True,
        ),
        ([C_READER, HERE], asking("u", "get", "pods", namespace="a"), True),
        ([C_READER, HERE], asking("u", "get", "pods", namespace="b"), False),
        ([C_READER, binding("b", "reader", "u")], asking("u", "get", "pods", namespace="b"), True),
        ([C_READER, binding("b", "reader", "u")], asking("u", "get", "pods"), True),
        ([READER, binding("b", "Role/reader", "u")], asking("u", "get", "pods", namespace="a"), False),
        ([READER, binding("b", "reader", "sa:robot", namespace="a")], asking(ROBOT, "get", "pods", namespace="a"), True),
        ([C_READER, binding("b", "reader", "sa:a/robot")], asking(ROBOT, "get", "pods", namespace="c"), True),
        ([C_READER, binding("b", "reader", "sa:robot")], asking(ROBOT, "get", "pods", namespace="a"), False),
        ([PROBER, binding("b", "prober", "u")], asking("u", "get", "/metrics"), True),
        ([PROBER, binding("b", "prober", "u")], asking("u", "get", "/debug/pprof"), True),
        ([PROBER, binding("b", "prober", "u")], asking("u", "get", "/debug"), False),
        ([PROBER, binding("b", "prober", "u")], asking("u", "post", "/metrics"), False),
        ([PROBER, binding("b", "ClusterRole/prober", "u", namespace="a")], asking("u", "get", "/metrics"), False),
    ],
)  # fmt: skip
async def test_a_binding_gives_a_role_to_its_subjects_where_it_is(objects: Any, asked: Any, allowed: bool) -> None:
    assert (await Roles(*objects).authorizer.authorize(asked)).allowed is allowed


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule("*", "*"), asking("u", "eat", "cakes/slices"), True),
        (rule("*", "*"), asking("u", "get", "apps:deployments"), False),
        (rule("get", "*", group="*"), asking("u", "get", "apps:deployments/scale"), True),
        (rule("get", "*/scale", group="apps"), asking("u", "get", "apps:deployments/scale"), True),
        (rule("get", "*/scale", group="apps"), asking("u", "get", "apps:deployments"), False),
        (rule("get", "pods", names="x y"), asking("u", "get", "pods", name="y"), True),
        (rule("get", "pods", names="x y"), asking("u", "get", "pods", name="z"), False),
        (rule("create", "pods", names="x"), asking("u", "create", "pods"), False),
    ],
)
async def test_a_rule_allows_what_it_says(given: Any, asked: Any, allowed: bool) -> None:
    roles = Roles(role("r", given), binding("b", "r", "u"))
    assert (await roles.authorizer.authorize(asked)).allowed is allowed


async def test_the_answer_names_the_binding_the_role_and_the_subject() -> None:
    roles = Roles(
        READER, binding("b", "reader", "sa:robot", namespace="a"), C_READER, binding("c", "reader", "group:g")
    )
    local = await roles.authorizer.authorize(asking(ROBOT, "list", "pods", namespace="a"))
    assert local.reason == 'RBAC: allowed by RoleBinding "b/a" of Role "reader" to ServiceAccount "robot/a"'
    wide = await roles.authorizer.authorize(asking(User("u", ("g",)), "get", "pods"))
    assert wide.reason == 'RBAC: allowed by ClusterRoleBinding "c" of ClusterRole "reader" to Group "g"'


async def test_a_role_that_is_bound_and_missing_is_told_with_the_no() -> None:
    roles = Roles(binding("b", "reader", "u", namespace="a"), binding("c", "reader", "u"))
    decision = await roles.authorizer.authorize(asking("u", "get", "pods", namespace="a"))
    names = [f'{kind}.rbac.authorization.k8s.io "reader" not found' for kind in ("role", "clusterrole")]
    assert (decision.allowed, decision.reason) == (False, f"RBAC: [{', '.join(names)}]")
    assert (await roles.authorizer.rules_for(User("u"), "a")).unresolved == "; ".join(names)


async def test_what_changes_counts_from_the_next_question_on() -> None:
    roles, asked = Roles(), asking("u", "get", "pods", namespace="a")
    changes: list[tuple[Callable[[], None], bool]] = [
        (lambda: roles.put(binding("b", "reader", "u", namespace="a")), False),
        (lambda: roles.put(READER), True),
        (lambda: roles.put(role("reader", rule("list", "pods"), namespace="a")), False),
        (lambda: roles.put(READER), True),
        (lambda: roles.put(binding("b", "reader", "v", namespace="a")), False),
        (lambda: roles.put(binding("b", "reader", "v", "u", namespace="a")), True),
        (lambda: roles.remove(READER), False),
        (lambda: roles.put(READER), True),
        (lambda: roles.remove(binding("b", "reader", namespace="a")), False),
    ]
    for change, allowed in changes:
        change()
        assert (await roles.authorizer.authorize(asked)).allowed is allowed


OWN = role("mine", rule("get delete", "pods"), own=True)


async def test_an_own_scoped_role_allows_own_objects_only_unless_another_says_more() -> None:
    roles = Roles(OWN, binding("b", "mine", "u"))
    decision = await roles.authorizer.authorize(asking("u", "get", "pods", namespace="a"))
    assert (decision.allowed, decision.own_only, decision.is_outright) == (True, True, False)
    assert decision.reason.endswith("for objects that the user owns only")
    for obj in (READER, binding("c", "reader", "u", namespace="a")):
        roles.put(obj)
    assert (await roles.authorizer.authorize(asking("u", "get", "pods", namespace="a"))).is_outright
    assert (await roles.authorizer.authorize(asking("u", "get", "pods", namespace="b"))).own_only
    assert (await roles.authorizer.authorize(asking("u", "delete", "pods", namespace="a"))).own_only


async def test_own_scoped_rules_are_listed_apart_and_cannot_be_handed_on() -> None:
    roles = Roles(OWN, binding("b", "mine", "u"), C_READER, binding("c", "reader", "u"))
    resolution = await roles.authorizer.rules_for(User("u"), "a")
    assert resolution.rules == (rule_of(C_READER["rules"][0]),)
    assert resolution.own_rules == (rule_of(OWN["rules"][0]),)
    assert roles.authorizer.rules_held(User("u"), "a") == resolution.rules


async def test_a_scope_that_nobody_knows_is_taken_for_the_narrowest_and_paths_have_no_owner() -> None:
    strange = {**OWN, "metadata": {"name": "mine", "annotations": {"stark.dev/scope": "all"}}}
    strange["rules"] = [*OWN["rules"], {"verbs": ["get"], "nonResourceURLs": ["*"]}]
    roles = Roles(strange, binding("b", "mine", "u"))
    assert (await roles.authorizer.authorize(asking("u", "get", "pods"))).own_only
    assert not (await roles.authorizer.authorize(asking("u", "get", "/metrics"))).allowed


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        (rule("get list", "pods"), rule("get", "pods"), []),
        (rule("get", "pods"), rule("get list", "pods"), ['{APIGroups:[""], Resources:["pods"], Verbs:["list"]}']),
        (rule("*", "*", group="*"), rule("eat", "cakes/slices", group="x"), []),
        (rule("get", "pods"), rule("*", "pods"), ['{APIGroups:[""], Resources:["pods"], Verbs:["*"]}']),
        (rule("get", "*/scale"), rule("get", "pods/scale"), []),
        (rule("get", "pods"), rule("get", "pods/log"), ['{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}']),
        (rule("get", "pods"), rule("get", "pods", names="x"), []),
        (rule("get", "pods", names="x"), rule("get", "pods"), ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}']),
        (
            rule("get", "pods", names="x"),
            rule("get list", "pods", names="x y"),
            [
                '{APIGroups:[""], Resources:["pods"], ResourceNames:["x"], Verbs:["list"]}',
                '{APIGroups:[""], Resources:["pods"], ResourceNames:["y"], Verbs:["get" "list"]}',
            ],
        ),
        ({"verbs": ["get"], "nonResourceURLs": ["/a/*"]}, {"verbs": ["get"], "nonResourceURLs": ["/a/b", "/a/b*"]}, []),
        (
            {"verbs": ["get"], "nonResourceURLs": ["/a"]},
            {"verbs": ["get"], "nonResourceURLs": ["/a*"]},
            ['{NonResourceURLs:["/a*"], Verbs:["get"]}'],
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_permission_by_permission(held: Any, wanted: Any, lacking: list[str]) -> None:
    assert told(missing([rule_of(held)], [rule_of(wanted)])) == lacking


def stored(obj: Any, **changes: Any) -> Any:
    return {**obj, "metadata": {**obj["metadata"], "uid": "7", "resourceVersion": "3"}, **changes}


OURS = {obj["metadata"]["name"]: obj for obj in cluster_roles()}
BOUND = {obj["metadata"]["name"]: obj for obj in cluster_role_bindings()}


def test_what_is_complete_is_left_as_it_is() -> None:
    for ours in (*OURS.values(), *BOUND.values()):
        more = {"rules": [*ours.get("rules", []), rule("eat", "cakes")]} if ours["kind"] == "ClusterRole" else {}
        assert put_right(ours, stored(ours, **more)) is None
        assert put_right(ours, None) == ours


def test_what_is_missing_is_added_and_what_was_added_stays() -> None:
    ours = OURS["system:basic-user"]
    found = put_right(ours, stored(ours, rules=[rule("eat", "cakes"), ours["rules"][0]]))
    assert found is not None
    assert found["rules"] == [rule("eat", "cakes"), *ours["rules"]]
    assert found["metadata"]["resourceVersion"] == "3"
    found = put_right(BOUND["stark:user"], stored(BOUND["stark:user"], subjects=[]))
    assert found is not None
    assert found["subjects"] == BOUND["stark:user"]["subjects"]
    bare = stored(ours, metadata={"name": "system:basic-user", "labels": {"mine": "1"}})
    found = put_right(ours, bare)
    assert found is not None
    assert found["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults", "mine": "1"}


def test_who_wants_no_updates_gets_none() -> None:
    ours = OURS["system:discovery"]
    metadata = {**ours["metadata"], "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}
    assert put_right(ours, stored(ours, metadata=metadata, rules=[])) is None


def test_a_binding_of_another_role_is_made_anew() -> None:
    ours = BOUND["stark:viewer"]
    other = stored(ours, roleRef={**ours["roleRef"], "name": "cluster-admin"})
    assert is_of_another_role(ours, other)
    assert not is_of_another_role(ours, stored(ours))


@pytest.mark.parametrize(
    ("group", "verb", "what", "answer"),
    [
        ("stark:admin", "delete", "nodes", "yes"),
        ("stark:admin", "escalate", "rbac.authorization.k8s.io:clusterroles", "yes"),
        ("stark:user", "create", "pods", "own"),
        ("stark:user", "get", "secrets", "own"),
        ("stark:user", "create", "pods/exec", "own"),
        ("stark:user", "list", "namespaces", "yes"),
        ("stark:user", "create", "namespaces", "own"),
        ("stark:user", "delete", "namespaces", "own"),
        ("stark:user", "delete", "nodes", "own"),
        ("stark:user", "create", "rbac.authorization.k8s.io:rolebindings", "no"),
        ("stark:node", "list", "stark.dev:packs", "own"),
        ("stark:node", "delete", "pods", "no"),
        ("stark:viewer", "list", "pods", "yes"),
        ("stark:viewer", "get", "secrets", "no"),
        ("stark:viewer", "get", "pods/log", "no"),
        ("stark:viewer", "create", "pods", "no"),
        ("system:monitoring", "get", "/metrics", "yes"),
        ("system:authenticated", "get", "/metrics", "no"),
        ("system:authenticated", "get", "/apis/apps/v1", "yes"),
        ("system:unauthenticated", "get", "/version", "yes"),
        ("system:unauthenticated", "get", "/apis", "no"),
    ],
)
async def test_the_groups_of_every_cluster_may(group: str, verb: str, what: str, answer: str) -> None:
    decision = await bootstrapped().authorizer.authorize(asking(User("u", (group,)), verb, what))
    assert {"yes": decision.is_outright, "own": decision.own_only, "no": not decision.allowed}[answer], decision
