"""What users, controllers and agents may do."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from stark.apiserver.auth.authorization import AuthorizationAttributes, Decision, forbidden
from stark.apiserver.auth.builtin import Union
from stark.apiserver.auth.reviews import virtual_resources
from stark.apiserver.auth.rules import CONTROLLER_RULES, Resolution, Rule
from stark.apiserver.errors import BadRequest, Invalid
from stark.apiserver.request import User
from stark.crds.images import pack_object_name
from tests.support.roles import guard
from tests.support.server_side import ADMIN, ALICE, CONTROLLERS, Objects, node_user

N1 = node_user("n1")
PACK = pack_object_name("hello", "1.0.0")


def bound_pod(name: str, node: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"nodeName": node, **spec}}


@pytest.fixture
def objects() -> Objects:
    objects = Objects()
    environment = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}}]
    sources = [{"configMapRef": {"name": "settings"}}]
    container = {"name": "c", "image": "pack.stark/hello:1.0.0", "env": environment, "envFrom": sources}
    objects.add("", "pods", bound_pod("ours", "n1", containers=[container]))
    objects.add("", "pods", bound_pod("theirs", "n2", containers=[{"name": "c"}]))
    return objects


async def allowed(objects: Objects, user: User, verb: str, what: str, **more: str) -> bool:
    """`what` is `group/resource[/subresource]`."""
    group, resource, *sub = what.split("/")
    asked = AuthorizationAttributes(user, verb, group, "v1", resource, sub[0] if sub else "", **more)
    return (await guard(objects).authorize(asked)).allowed


LEASE = {"namespace": "kube-node-lease", "name": "n1"}
POD = {"namespace": "default", "name": "ours"}
FOREIGN_POD = {"namespace": "default", "name": "theirs"}


@pytest.mark.parametrize(
    ("verb", "what", "more"),
    [
        ("create", "/nodes", {}),
        ("get", "/nodes", {"name": "n1"}),
        ("patch", "/nodes", {"name": "n1"}),
        ("patch", "/nodes/status", {"name": "n1"}),
        ("watch", "/nodes", {"field_selector": "metadata.name=n1"}),
        ("update", "coordination.k8s.io/leases", LEASE),
        ("create", "coordination.k8s.io/leases", {"namespace": "kube-node-lease"}),
        ("list", "/pods", {"field_selector": "spec.nodeName=n1"}),
        ("watch", "/pods", {"field_selector": "status.phase!=Failed,spec.nodeName==n1"}),
        ("get", "/pods", POD),
        ("delete", "/pods", POD),
        ("patch", "/pods/status", POD),
        ("get", "/pods", {"namespace": "default", "name": "gone"}),
        ("get", "/secrets", {"namespace": "default", "name": "mine"}),
        ("watch", "/secrets", {"namespace": "default", "field_selector": "metadata.name=mine"}),
        ("get", "/configmaps", {"namespace": "default", "name": "settings"}),
        ("create", "/events", {"namespace": "default"}),
        ("get", "stark.dev/packs", {"name": PACK}),
        ("watch", "stark.dev/packs", {"field_selector": f"metadata.name={PACK}"}),
        ("get", "stark.dev/packs/bundles", {"name": PACK}),
    ],
)
async def test_an_agent_may(objects: Objects, verb: str, what: str, more: dict[str, str]) -> None:
    assert await allowed(objects, N1, verb, what, **more)


@pytest.mark.parametrize(
    ("verb", "what", "more"),
    [
        ("list", "/nodes", {}),
        ("get", "/nodes", {"name": "n2"}),
        ("patch", "/nodes/status", {"name": "n2"}),
        ("delete", "/nodes", {"name": "n1"}),
        ("update", "coordination.k8s.io/leases", {**LEASE, "name": "n2"}),
        ("update", "coordination.k8s.io/leases", {**LEASE, "namespace": "kube-system"}),
        ("list", "/pods", {}),
        ("list", "/pods", {"field_selector": "spec.nodeName=n2"}),
        ("list", "/pods", {"field_selector": "spec.nodeName!=n1"}),
        ("get", "/pods", FOREIGN_POD),
        ("delete", "/pods", FOREIGN_POD),
        ("patch", "/pods/status", FOREIGN_POD),
        ("deletecollection", "/pods", {"field_selector": "spec.nodeName=n1"}),
        ("create", "/pods", {"namespace": "default"}),
        ("create", "/pods/binding", POD),
        ("patch", "/pods", POD),
        ("get", "/secrets", {"namespace": "default", "name": "theirs"}),
        ("get", "/secrets", {"namespace": "other", "name": "mine"}),
        ("list", "/secrets", {"namespace": "default"}),
        ("list", "/secrets", {"namespace": "default", "field_selector": r"metadata.name!=a\,metadata.name=mine"}),
        ("list", "/secrets", {"namespace": "default", "field_selector": "metadata.name!=mine"}),
        ("watch", "/pods", {"field_selector": r"spec.nodeName!=x\,spec.nodeName=n1"}),
        ("watch", "/pods", {"namespace": "default", "name": "gone"}),
        ("list", "/nodes", {"field_selector": r"metadata.name!=x\,metadata.name=n1"}),
        ("get", "/configmaps", {"namespace": "default", "name": "mine"}),
        ("create", "stark.dev/packs", {}),
        ("list", "stark.dev/packs", {}),
        ("get", "stark.dev/packs", {"name": pack_object_name("hello", "2.0.0")}),
        ("get", "stark.dev/packs/bundles", {"name": pack_object_name("hello", "2.0.0")}),
        ("update", "stark.dev/packs/bundles", {"name": PACK}),
        ("create", "apps/deployments", {"namespace": "default"}),
        ("impersonate", "/users", {"name": "admin"}),
    ],
)
async def test_an_agent_may_not(objects: Objects, verb: str, what: str, more: dict[str, str]) -> None:
    assert not await allowed(objects, N1, verb, what, **more)


@pytest.mark.parametrize(
    "user", [User("system:node:n1", ("system:authenticated",)), User("n1", ("system:nodes",))], ids=["group", "name"]
)
async def test_half_an_agents_identity_is_none(objects: Objects, user: User) -> None:
    assert not await allowed(objects, user, "get", "/pods", **POD)


@pytest.mark.parametrize(
    ("verb", "what", "more"),
    [
        ("create", "/pods/binding", {"namespace": "a"}),
        ("watch", "stark.dev/packs", {}),
        ("create", "apps/replicasets", {"namespace": "a"}),
        ("update", "apps/deployments/status", {"namespace": "a"}),
        ("update", "coordination.k8s.io/leases", {"namespace": "kube-system", "name": "scheduler"}),
        ("delete", "example.com/widgets", {"namespace": "a"}),
        ("update", "/namespaces/finalize", {"name": "a"}),
    ],
)
async def test_the_controllers_may(objects: Objects, verb: str, what: str, more: dict[str, str]) -> None:
    assert await allowed(objects, CONTROLLERS, verb, what, **more)


@pytest.mark.parametrize(
    ("verb", "what", "more"),
    [
        ("create", "/secrets", {"namespace": "a"}),
        ("create", "/nodes", {}),
        ("create", "stark.dev/packs", {}),
        ("create", "apps/deployments", {"namespace": "a"}),
        ("create", "coordination.k8s.io/leases", {"namespace": "kube-node-lease"}),
        ("create", "apiextensions.k8s.io/customresourcedefinitions", {}),
        ("impersonate", "/users", {"name": "admin"}),
    ],
)
async def test_the_controllers_may_not(objects: Objects, verb: str, what: str, more: dict[str, str]) -> None:
    assert not await allowed(objects, CONTROLLERS, verb, what, **more)


def test_no_controller_may_do_everything() -> None:
    for controller, rules in CONTROLLER_RULES.items():
        assert all("*" not in rule.verbs for rule in rules), controller
        assert all("create" not in rule.verbs for rule in rules if "*" in rule.resources), controller


async def path_allowed(user: User, path: str, verb: str = "get") -> bool:
    asked = AuthorizationAttributes(user, verb, path=path)
    return (await guard().authorize(asked)).allowed


NOBODY = User("system:anonymous", ("system:unauthenticated",))


@pytest.mark.parametrize("path", ["/api", "/apis/apps/v1", "/openapi/v3"])
async def test_everybody_who_is_known_may_look_around(path: str) -> None:
    assert await path_allowed(ALICE, path)
    assert not await path_allowed(NOBODY, path)
    assert not await path_allowed(ALICE, path, "post")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/livez/ping", "/version"])
async def test_anybody_may_ask_whether_the_server_lives(path: str) -> None:
    assert await path_allowed(ALICE, path)
    assert await path_allowed(NOBODY, path)
    assert not await path_allowed(NOBODY, path, "post")


async def test_other_paths_are_for_administrators() -> None:
    assert not await path_allowed(ALICE, "/debug/pprof")
    assert await path_allowed(ADMIN, "/debug/pprof")


async def test_a_user_without_rules_may_touch_no_object(objects: Objects) -> None:
    assert not await allowed(objects, ALICE, "get", "/pods", **POD)
    assert await allowed(objects, ADMIN, "delete", "example.com/widgets", name="x")


def test_refusals_are_worded_as_kubernetes_words_them() -> None:
    def text(decision: Decision, verb: str, **more: str) -> str:
        return forbidden(AuthorizationAttributes(User("u"), verb, **more), decision).message

    no = Decision(allowed=False)
    assert text(no, verb="get", resource="pods", name="x", namespace="default") == (
        'pods "x" is forbidden: User "u" cannot get resource "pods" in API group "" in the namespace "default"'
    )
    assert text(no, verb="list", resource="deployments", group="apps") == (
        'deployments.apps is forbidden: User "u" cannot list resource "deployments" in API group "apps" at the cluster scope'
    )
    assert text(no, verb="get", resource="pods", subresource="log", name="x", namespace="d") == (
        'pods "x" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "d"'
    )
    assert text(Decision(False, "because"), verb="get", path="/x") == (
        'forbidden: User "u" cannot get path "/x": because'
    )


def test_a_refusal_names_the_object_in_its_details() -> None:
    asked = AuthorizationAttributes(ALICE, "get", "apps", "v1", "deployments", namespace="a", name="web")
    details = forbidden(asked, Decision(False)).status()["details"]
    assert details == {"name": "web", "group": "apps", "kind": "deployments"}


RULE = Rule(("get",), ("",), ("pods",))


async def test_a_union_gives_everybodys_reasons_for_a_no() -> None:
    class No:
        def __init__(self, reason: str) -> None:
            self.reason = reason

        async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
            return Decision(False, self.reason)

        async def rules_for(self, user: User, namespace: str) -> Resolution:
            return Resolution((RULE,), self.reason)

    asked = AuthorizationAttributes(ALICE, "get", resource="pods")
    union = Union([No("a"), No(""), No("b")])
    assert await union.authorize(asked) == Decision(False, "a, b")
    assert await union.rules_for(ALICE, "x") == Resolution((RULE,), "a, b")


@pytest.mark.parametrize(
    ("rule", "covers"),
    [
        pytest.param(Rule(("get",), ("",), ("pods",)), False, id="a resource is not its subresources"),
        pytest.param(Rule(("get",), ("",), ("*/status",)), True, id="a subresource of everything"),
        pytest.param(Rule(("get",), ("",), ("*",)), True, id="everything"),
        pytest.param(Rule(("*",), ("*",), ("pods/status",), names=("x",)), True, id="by name"),
        pytest.param(Rule(("*",), ("*",), ("pods/status",), names=("y",)), False, id="another name"),
        pytest.param(Rule(("get",), ("",), ("pods/status",), namespaces=("b",)), False, id="another namespace"),
        pytest.param(Rule(("get",), ("apps",), ("pods/status",)), False, id="another group"),
        pytest.param(Rule(("list",), ("",), ("pods/status",)), False, id="another verb"),
    ],
)
def test_a_rule_covers_what_it_names(rule: Rule, covers: bool) -> None:
    asked = AuthorizationAttributes(ALICE, "get", "", "v1", "pods", "status", "a", "x")
    assert rule.allows(asked) is covers


def review(kind: str) -> Any:
    found = {r.kind: r for r in virtual_resources(guard())}[kind]
    return found.create


async def test_whoami_tells_the_user_as_the_server_sees_it() -> None:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    answer = await review("SelfSubjectReview")(User("u", ("g",), "7", {"k": ("v",)}), body, "")
    assert answer["status"]["userInfo"] == {"username": "u", "uid": "7", "groups": ["g"], "extra": {"k": ["v"]}}


@pytest.mark.parametrize(
    ("user", "spec", "answer"),
    [
        (ALICE, {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "a"}}, False),
        (ADMIN, {"resourceAttributes": {"verb": "*", "resource": "*", "group": "*"}}, True),
        (ALICE, {"nonResourceAttributes": {"verb": "get", "path": "/apis"}}, True),
        (ALICE, {"resourceAttributes": {"verb": "*"}}, False),
    ],
)
async def test_can_i_is_answered_by_the_authorizer_that_guards_the_api(user: User, spec: Any, answer: bool) -> None:
    reviewed = await review("SelfSubjectAccessReview")(user, {"spec": spec}, "")
    assert reviewed["status"]["allowed"] is answer
    assert reviewed["spec"] == spec


async def test_can_they_asks_about_somebody_else() -> None:
    attributes = {"verb": "get", "resource": "secrets", "namespace": "a"}
    body = {"spec": {"user": "root", "groups": ["system:masters"], "resourceAttributes": attributes}}
    assert (await review("SubjectAccessReview")(ADMIN, body, ""))["status"]["allowed"] is True
    assert not await allowed(Objects(), ALICE, "create", "authorization.k8s.io/subjectaccessreviews")


PODS = {"verb": "get", "resource": "pods"}
WHO = {"user": "u"}


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        pytest.param("SelfSubjectAccessReview", {}, "spec.resourceAttributes: Invalid value: null: ex", id="none"),
        pytest.param(
            "SelfSubjectAccessReview",
            {"spec": {"resourceAttributes": PODS, "nonResourceAttributes": {"path": "/"}}},
            "cannot be specified in combination with resourceAttributes",
            id="two",
        ),
        pytest.param(
            "SelfSubjectAccessReview",
            {"metadata": {"name": "x"}, "spec": {"resourceAttributes": PODS}},
            'metadata: Invalid value: {"name":"x"}: must be empty',
            id="a name",
        ),
        pytest.param("SubjectAccessReview", {"spec": {"resourceAttributes": PODS}}, "at least one of user", id="of nobody"),
        pytest.param(
            "LocalSubjectAccessReview",
            {"spec": {**WHO, "resourceAttributes": {**PODS, "namespace": "b"}}},
            'spec.resourceAttributes.namespace: Invalid value: "b": must match metadata.namespace',
            id="of another namespace",
        ),
        pytest.param(
            "LocalSubjectAccessReview",
            {"spec": {**WHO, "nonResourceAttributes": {"path": "/"}}},
            "disallowed on this kind of request",
            id="of a path, in a namespace",
        ),
        pytest.param(
            "SelfSubjectAccessReview",
            {"spec": {"resourceAttributes": {**PODS, "fieldSelector": {"rawSelector": "a=b", "requirements": [{}]}}}},
            "may not specified at the same time as requirements",
            id="a selector said twice",
        ),
    ],
)  # fmt: skip
async def test_a_question_must_be_one_question(kind: str, body: Any, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await review(kind)(ALICE, body, "a")
    assert message in refusal.value.message


async def test_can_they_here_asks_about_somebody_in_one_namespace() -> None:
    attributes = {"verb": "update", "group": "coordination.k8s.io", "resource": "leases", "namespace": "kube-system"}
    body = {"spec": {"groups": ["system:controllers"], "resourceAttributes": attributes}}
    answer = await review("LocalSubjectAccessReview")(ADMIN, body, "kube-system")
    assert (answer["status"], answer["metadata"]) == ({"allowed": True}, {"namespace": "kube-system"})
    with pytest.raises(BadRequest):
        await review("LocalSubjectAccessReview")(ADMIN, {**body, "metadata": {"namespace": "a"}}, "kube-system")


async def my_rules(user: User, namespace: str = "a") -> Any:
    return (await review("SelfSubjectRulesReview")(user, {"spec": {"namespace": namespace}}, ""))["status"]


def named(status: Any, *names: str) -> list[Any]:
    return [rule["verbs"] for rule in status["resourceRules"] if rule.get("resourceNames") == list(names)]


async def test_the_list_of_my_rules_names_what_everybody_may() -> None:
    answer = await my_rules(ALICE)
    resources = [name for rule in answer["resourceRules"] for name in rule["resources"]]
    assert "selfsubjectaccessreviews" in resources
    assert "secrets" not in resources
    assert any("/readyz" in rule["nonResourceURLs"] for rule in answer["nonResourceRules"])
    assert answer["incomplete"] is False
    assert "evaluationError" not in answer


async def test_the_list_of_a_masters_rules_begins_with_everything() -> None:
    answer = await my_rules(ADMIN)
    assert answer["resourceRules"][0] == {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert answer["nonResourceRules"][0] == {"verbs": ["*"], "nonResourceURLs": ["*"]}
    assert answer["incomplete"] is False


async def test_the_list_of_a_nodes_rules_says_that_it_is_not_all() -> None:
    answer = await my_rules(N1)
    assert answer["incomplete"] is True
    assert "its own pods" in answer["evaluationError"]
    assert named(answer, "n1") == [["get", "list", "watch", "update", "patch"], ["get", "update", "patch"]]
    assert ["get", "update", "patch", "delete"] in named(await my_rules(N1, "kube-node-lease"), "n1")


async def test_rules_of_one_namespace_are_listed_only_there() -> None:
    def leases(status: Any) -> int:
        return sum("leases" in rule["resources"] and "create" in rule["verbs"] for rule in status["resourceRules"])

    assert leases(await my_rules(CONTROLLERS, "kube-system")) == 1
    assert leases(await my_rules(CONTROLLERS, "a")) == 0


@pytest.mark.parametrize("user", [ADMIN, ALICE, CONTROLLERS, N1], ids=["master", "anybody", "controllers", "node"])
async def test_what_is_listed_is_allowed(user: User, objects: Objects) -> None:
    for namespace in ("a", "kube-system", "kube-node-lease"):
        for rule in (await guard(objects).rules_for(user, namespace)).rules:
            for verb, group, resource in product(rule.verbs, rule.groups, rule.resources):
                name = rule.names[0] if rule.names else ""
                selector = f"metadata.name={name}" if name and verb in ("list", "watch") else ""
                more = {"namespace": namespace, "name": name, "field_selector": selector}
                assert await allowed(objects, user, verb, f"{group}/{resource}", **more), (rule, verb, resource)


async def test_rules_are_listed_of_a_namespace() -> None:
    with pytest.raises(BadRequest, match="no namespace on request"):
        await my_rules(ALICE, "")


class Says:
    """An authorizer that always answers the same."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return self._decision

    async def rules_for(self, user: User, namespace: str) -> Resolution:
        return Resolution()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        pytest.param(
            [Decision(True, own_only=True), Decision(True)], Decision(True), id="for own objects, and outright"
        ),
        pytest.param(
            [Decision(False, "a"), Decision(True, "b", True)], Decision(True, "b", True), id="for own objects only"
        ),
        pytest.param(
            [Decision(False, "a"), Decision(False, "b")], Decision(False, "a, b"), id="no, for all their reasons"
        ),
    ],
)
async def test_the_widest_yes_of_all_authorizers_is_the_answer(said: list[Decision], answer: Decision) -> None:
    decision = await Union([Says(one) for one in said]).authorize(
        AuthorizationAttributes(ALICE, "get", resource="pods")
    )
    assert decision == answer


async def test_an_agent_reads_for_a_restricted_owners_pod_what_is_that_owners(objects: Objects) -> None:
    environment = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "token", "key": "k"}}}]
    made = bound_pod("hers", "n1", containers=[{"name": "c", "env": environment}])
    made["metadata"]["annotations"] = {"stark.dev/owner": "alice", "stark.dev/owner-role": "user"}
    objects.add("", "pods", made)
    asked = AuthorizationAttributes(N1, "get", "", "v1", "secrets", "", "default", "token")
    decision = await guard(objects).authorize(asked)
    assert (decision.allowed, decision.own_only, decision.owners) == (True, True, frozenset({"alice"}))


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("secrets", "keys"),
        ("secrets", "keys-2"),
        ("secrets", "first"),
        ("configmaps", "conf"),
        ("configmaps", "conf-2"),
    ],
)
async def test_an_agent_reads_what_its_pods_volumes_and_init_containers_name_and_nothing_else(
    objects: Objects, what: str, name: str
) -> None:
    sources = [{"secret": {"name": "keys-2"}}, {"configMap": {"name": "conf-2"}}]
    volumes = [
        {"name": "a", "secret": {"secretName": "keys"}},
        {"name": "b", "configMap": {"name": "conf"}},
        {"name": "c", "projected": {"sources": sources}},
        {"name": "d", "emptyDir": {}},
    ]
    first = {"name": "i", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "first", "key": "k"}}}]}
    objects.add("", "pods", bound_pod("v", "n1", containers=[{"name": "c"}], initContainers=[first], volumes=volumes))
    asked = {"namespace": "default", "name": name}
    assert await allowed(objects, N1, "get", f"/{what}", **asked)
    assert not await allowed(objects, node_user("n2"), "get", f"/{what}", **asked)
    assert not await allowed(objects, N1, "get", f"/{what}", namespace="default", name=f"{name}-other")


UNA = User("una", ("stark:user", "system:authenticated"))


async def test_a_yes_for_own_objects_says_so() -> None:
    asked = {"verb": "get", "resource": "secrets", "namespace": "a", "name": "x"}
    answer = await review("SelfSubjectAccessReview")(UNA, {"spec": {"resourceAttributes": asked}}, "")
    assert answer["status"]["allowed"] is True
    assert answer["status"]["reason"].endswith("for objects that the user owns only")
    plain = {"verb": "list", "resource": "namespaces"}
    answer = await review("SelfSubjectAccessReview")(UNA, {"spec": {"resourceAttributes": plain}}, "")
    assert answer["status"]["reason"].endswith('to Group "stark:user"')


async def test_rules_for_own_objects_are_listed_and_the_list_says_which_they_are() -> None:
    status = (await review("SelfSubjectRulesReview")(UNA, {"spec": {"namespace": "a"}}, ""))["status"]
    assert status["incomplete"] is True
    assert status["evaluationError"].startswith("only for objects that una owns: configmaps, ")
    assert any("secrets" in rule["resources"] for rule in status["resourceRules"])
