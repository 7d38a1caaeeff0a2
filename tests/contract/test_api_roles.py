"""Roles and bindings over HTTP: what they give, to whom, and that nobody gives what they do not have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from stark.apiserver.settings import Settings
from stark.apiserver.stores import open_store
from tests.support.apiserver import MERGE_PATCH, Answer, Api, api_server
from tests.support.roles import binding, role, rule

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES, BINDINGS = f"{RBAC}/namespaces/default/roles", f"{RBAC}/namespaces/default/rolebindings"
CLUSTER_ROLES, CLUSTER_BINDINGS = f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"
GROUP = "rbac.authorization.k8s.io"
APPLY_PATCH = "application/apply-patch+yaml"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with api_server(tmp_path_factory.mktemp("roles")) as running:
        for verbs, resources in (("get list", "pods"), ("create", "configmaps")):
            name = resources
            (await running.post(CLUSTER_ROLES, role(name, rule(verbs, resources)))).ok(201)
        manager = role(
            "manager",
            rule(
                "get list create update patch delete",
                "roles rolebindings clusterroles clusterrolebindings",
                group=GROUP,
            ),
        )
        (await running.post(CLUSTER_ROLES, manager)).ok(201)
        for who in ("mary", "eve", "bea", "max"):
            (await running.post(CLUSTER_BINDINGS, binding(f"manager-{who}", "manager", who))).ok(201)
        (await running.post(CLUSTER_BINDINGS, binding("mary-pods", "pods", "mary"))).ok(201)
        (await running.post(CLUSTER_ROLES, role("escalator", rule("escalate", "roles clusterroles", group=GROUP)))).ok(
            201
        )
        (await running.post(CLUSTER_BINDINGS, binding("eve-escalates", "escalator", "eve"))).ok(201)
        binder = role("binder", rule("bind", "clusterroles", group=GROUP, names="pods"))
        (await running.post(CLUSTER_ROLES, binder)).ok(201)
        (await running.post(CLUSTER_BINDINGS, binding("bea-binds", "binder", "bea"))).ok(201)
        yield running


def acting(user: str, *groups: str) -> dict[str, str]:
    headers = {"Impersonate-User": user}
    return {**headers, "Impersonate-Group": ",".join(groups)} if groups else headers


async def as_user(
    api: Api, user: str, method: str, path: str, body: Any = None, kind: str = "application/json"
) -> Answer:
    return await api.ask(method, path, body, headers=acting(user), content_type=kind)


async def test_a_role_counts_from_the_moment_its_binding_is_acknowledged(api: Api) -> None:
    (await api.post(ROLES, role("reader", rule("get list", "configmaps"), namespace="default"))).ok(201)
    maps = "/api/v1/namespaces/default/configmaps"
    refusal = (await as_user(api, "alice", "GET", maps)).refused(403, "Forbidden")
    assert refusal == (
        'configmaps is forbidden: User "alice" cannot list resource "configmaps" in API group "" in the namespace "default"'
    )
    for _ in range(5):
        (await api.post(BINDINGS, binding("readers", "reader", "alice", namespace="default"))).ok(201)
        (await as_user(api, "alice", "GET", maps)).ok()
        (await as_user(api, "alice", "GET", "/api/v1/namespaces/other/configmaps")).refused(403, "Forbidden")
        (await as_user(api, "alice", "DELETE", f"{maps}/x")).refused(403, "Forbidden")
        (await api.delete(f"{BINDINGS}/readers")).ok()
        (await as_user(api, "alice", "GET", maps)).refused(403, "Forbidden")


async def test_who_may_see_one_object_may_list_and_watch_it_by_its_name(api: Api) -> None:
    (await api.post(ROLES, role("one", rule("get list watch", "configmaps", names="mine"), namespace="default"))).ok(
        201
    )
    (await api.post(BINDINGS, binding("one", "one", "olga", namespace="default"))).ok(201)
    maps = "/api/v1/namespaces/default/configmaps"
    (await as_user(api, "olga", "GET", f"{maps}?fieldSelector=metadata.name%3Dmine")).ok()
    for selector in ("metadata.name%3Dother", "metadata.name!%3Dmine", "metadata.namespace%3Ddefault"):
        (await as_user(api, "olga", "GET", f"{maps}?fieldSelector={selector}")).refused(403, "Forbidden")


MISSING = 'user "max" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'


@pytest.mark.parametrize("path", [ROLES, CLUSTER_ROLES])
async def test_nobody_writes_a_role_with_more_than_they_have(api: Api, path: str) -> None:
    namespace = "default" if path == ROLES else ""
    plural = path.rpartition("/")[2]
    wanted = role("wide", rule("get delete", "pods"), rule("get", "secrets"), namespace=namespace)
    assert (await as_user(api, "max", "POST", path, wanted)).refused(403, "Forbidden") == (
        f'{plural}.rbac.authorization.k8s.io "wide" is forbidden: {MISSING}'
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'
    )
    held = role("narrow", rule("get", "pods"), namespace=namespace)
    (await as_user(api, "mary", "POST", path, held)).ok(201)
    for method, body, kind in [
        ("PUT", {**held, "rules": wanted["rules"]}, "application/json"),
        ("PATCH", {"rules": wanted["rules"]}, MERGE_PATCH),
        ("PATCH", {**held, "rules": wanted["rules"]}, APPLY_PATCH),
    ]:
        place = f"{path}/narrow" + ("?fieldManager=m&force=true" if kind == APPLY_PATCH else "")
        refusal = (await as_user(api, "mary", method, place, body, kind)).refused(403, "Forbidden")
        assert "RBAC permissions not currently held" in refusal
    (await as_user(api, "eve", "POST", path, wanted)).ok(201)
    # A role that says more than they have may not even be relabelled: it could be gathered by another then.
    (await as_user(api, "mary", "PATCH", f"{path}/wide", {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)).refused(
        403, "Forbidden"
    )
    (await as_user(api, "mary", "PATCH", f"{path}/wide", {"metadata": {"finalizers": ["a/b"]}}, MERGE_PATCH)).ok()
    (await as_user(api, "mary", "PATCH", f"{path}/wide", {"metadata": {"finalizers": None}}, MERGE_PATCH)).ok()
    for name in ("narrow", "wide"):
        (await api.delete(f"{path}/{name}")).ok()


@pytest.mark.parametrize("path", [BINDINGS, CLUSTER_BINDINGS])
async def test_nobody_binds_a_role_that_gives_more_than_they_have(api: Api, path: str) -> None:
    namespace, plural = ("default" if path == BINDINGS else ""), path.rpartition("/")[2]
    wide, pods = (binding(name, f"ClusterRole/{name}", "zoe", namespace=namespace) for name in ("configmaps", "pods"))
    refusal = (await as_user(api, "max", "POST", path, wide)).refused(403, "Forbidden")
    assert refusal == (
        f'{plural}.rbac.authorization.k8s.io "configmaps" is forbidden: {MISSING}'
        '{APIGroups:[""], Resources:["configmaps"], Verbs:["create"]}'
    )
    for who in ("max", "bea", "eve"):
        (await as_user(api, who, "POST", path, wide)).refused(403, "Forbidden")
    (await as_user(api, "max", "POST", path, pods)).refused(403, "Forbidden")
    for who in ("mary", "bea"):
        (await as_user(api, who, "POST", path, pods)).ok(201)
        (await as_user(api, "max", "PATCH", f"{path}/pods", {"subjects": []}, MERGE_PATCH)).refused(403, "Forbidden")
        (await as_user(api, who, "DELETE", f"{path}/pods")).ok()
    ghost = binding("ghost", "ClusterRole/ghost", "max", namespace=namespace)
    message = (await as_user(api, "mary", "POST", path, ghost)).refused(404, "NotFound")
    assert message == 'clusterroles.rbac.authorization.k8s.io "ghost" not found'
    (await api.post(path, ghost)).ok(201)
    (await api.delete(f"{path}/ghost")).ok()


async def test_who_gathers_rules_must_hold_everything(api: Api) -> None:
    gathering = {**role("gathering"), "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    refusal = (await as_user(api, "mary", "POST", CLUSTER_ROLES, gathering)).refused(403, "Forbidden")
    assert refusal.endswith("must have cluster-admin privileges to use an aggregationRule")
    (await api.post(CLUSTER_ROLES, gathering)).ok(201)
    change = {"aggregationRule": None}
    (await as_user(api, "mary", "PATCH", f"{CLUSTER_ROLES}/gathering", change, MERGE_PATCH)).refused(403, "Forbidden")
    boss = {**gathering, "metadata": {"name": "boss"}}
    (await api.ask("POST", CLUSTER_ROLES, boss, headers=acting("ada", "stark:admin"))).ok(201)


async def test_rights_on_own_objects_cannot_be_handed_on_or_widened(api: Api) -> None:
    own = role("own-secrets", rule("get", "secrets"), own=True)
    (await api.post(CLUSTER_ROLES, own)).ok(201)
    (await api.post(CLUSTER_BINDINGS, binding("max-own", "own-secrets", "max"))).ok(201)
    for name, scope in (("again", own), ("wider", role("wider", rule("get", "secrets")))):
        obj = {**scope, "metadata": {**scope["metadata"], "name": name}}
        (await as_user(api, "max", "POST", CLUSTER_ROLES, obj)).refused(403, "Forbidden")
    unscoped = {"metadata": {"annotations": {"stark.dev/scope": None}}}
    (await as_user(api, "max", "PATCH", f"{CLUSTER_ROLES}/own-secrets", unscoped, MERGE_PATCH)).refused(
        403, "Forbidden"
    )
    bound = binding("other", "own-secrets", "eve")
    (await as_user(api, "max", "POST", CLUSTER_BINDINGS, bound)).refused(403, "Forbidden")


@pytest.mark.parametrize(
    ("path", "obj", "message"),
    [
        (ROLES, role("r", {"verbs": [], "apiGroups": [], "resources": []}, namespace="default"),
         ("[rules[0].verbs: Required value: verbs must contain at least one value, "
          "rules[0].apiGroups: Required value: resource rules must supply at least one api group, "
          "rules[0].resources: Required value: resource rules must supply at least one resource]")),
        (ROLES, role("r", {"verbs": ["get"], "nonResourceURLs": ["/x"]}, namespace="default"),
         'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs'),
        (CLUSTER_ROLES, role("r", {**rule("get", "pods"), "nonResourceURLs": ["/x"]}),
         ('rules[0].nonResourceURLs: Invalid value: ["/x"]: '
          "rules cannot apply to both regular resources and non-resource URLs")),
        (CLUSTER_ROLES, {**role("r"), "aggregationRule": {}},
         ("aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if "
          "aggregationRule is non-nil")),
        (CLUSTER_ROLES, {**role("r"), "metadata": {"name": "r", "annotations": {"stark.dev/scope": "all"}}},
         'metadata.annotations[stark.dev/scope]: Unsupported value: "all": supported values: "own"'),
        (CLUSTER_ROLES, role("r", {"verbs": ["get"], "nonResourceURLs": ["/x"]}, own=True),
         'metadata.annotations[stark.dev/scope]: Invalid value: "own": non-resource URLs have no owner'),
        (CLUSTER_ROLES, role("a%b"), "metadata.name: Invalid value: \"a%b\": may not contain '%'"),
        (CLUSTER_BINDINGS, binding("b", "Role/r", "u"),
         'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'),
        (CLUSTER_BINDINGS, binding("b", "r", "sa:robot"), "subjects[0].namespace: Required value"),
        (BINDINGS, binding("b", "Pod/r", "u", namespace="default"),
         'roleRef.kind: Unsupported value: "Pod": supported values: "Role", "ClusterRole"'),
        (BINDINGS, {**binding("b", "r", namespace="default"), "subjects": [{"kind": "Cat", "name": "tom"}]},
         'subjects[0].kind: Unsupported value: "Cat": supported values: "ServiceAccount", "User", "Group"'),
        (BINDINGS, {**binding("b", "r", namespace="default"), "subjects": [{"kind": "User", "name": ""}]},
         "subjects[0].name: Required value"),
        (BINDINGS, {**binding("b", "r", namespace="default"),
                    "roleRef": {"apiGroup": "x.y", "kind": "Role", "name": "r"}},
         'roleRef.apiGroup: Unsupported value: "x.y": supported values: "rbac.authorization.k8s.io"'),
    ],
)  # fmt: skip
async def test_a_mistake_is_told_by_its_field(api: Api, path: str, obj: Any, message: str) -> None:
    assert (await api.post(path, obj)).refused(422, "Invalid").endswith(f"is invalid: {message}")


async def test_the_role_of_a_binding_cannot_be_changed_and_subjects_get_their_group(api: Api) -> None:
    bare = binding("fixed", "r", namespace="default")
    del bare["roleRef"]["apiGroup"]
    subjects = [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]
    stored = (await api.post(BINDINGS, {**bare, "subjects": subjects})).ok(201)
    assert stored["roleRef"]["apiGroup"] == stored["subjects"][0]["apiGroup"] == GROUP
    assert "apiGroup" not in stored["subjects"][1]
    message = (await api.patch(f"{BINDINGS}/fixed", {"roleRef": {"name": "other"}})).refused(422, "Invalid")
    assert message.endswith(
        'roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"other"}: '
        "cannot change roleRef"
    )


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"Impersonate-User": "u"}, 'users "u" is forbidden: User "imp" cannot impersonate resource "users"'),
        ({"Impersonate-User": "friend", "Impersonate-Group": "g"}, 'groups "g" is forbidden'),
        ({"Impersonate-User": "friend", "Impersonate-Uid": "7"}, 'uids.authentication.k8s.io "7" is forbidden'),
        (
            {"Impersonate-User": "friend", "Impersonate-Extra-team": "red"},
            'userextras.authentication.k8s.io "red" is forbidden: User "imp" cannot impersonate resource "userextras/team"',
        ),
        ({"Impersonate-User": "system:serviceaccount:a:b"}, 'serviceaccounts "b" is forbidden'),
        ({"Impersonate-User": "friend", "Impersonate-Group": "system:masters"}, 'groups "system:masters" is forbidden'),
        ({"Impersonate-User": "friend", "Impersonate-Group": "friends", "Impersonate-Uid": "1",
          "Impersonate-Extra-team": "blue"}, ""),
        ({"Impersonate-User": "system:serviceaccount:default:b"}, ""),
    ],
)  # fmt: skip
async def test_acting_as_somebody_else_takes_a_role_for_everything_that_is_said_of_them(
    api: Api, headers: dict[str, str], asked: str
) -> None:
    authentication = "authentication.k8s.io"
    friendly = role(
        "friendly",
        rule("impersonate", "users", names="friend"),
        rule("impersonate", "groups", names="friends"),
        rule("impersonate", "uids", group=authentication, names="1"),
        rule("impersonate", "userextras/team", group=authentication, names="blue"),
    )
    await api.post(CLUSTER_ROLES, friendly)
    await api.post(CLUSTER_BINDINGS, binding("friendly", "friendly", "imp"))
    await api.post(ROLES, role("robots", rule("impersonate", "serviceaccounts"), namespace="default"))
    await api.post(BINDINGS, binding("robots", "robots", "imp", namespace="default"))
    tokens = api.settings.data_dir / "pki" / "tokens.csv"
    tokens.write_text("imp-token,imp,1\n")
    tokens.chmod(0o600)
    sent = {"Authorization": "Bearer imp-token", **headers}
    body = {"apiVersion": f"{authentication}/v1", "kind": "SelfSubjectReview"}
    path = f"/apis/{authentication}/v1/selfsubjectreviews"
    answer = await api.ask("POST", path, body, headers=sent, session=api.as_nobody())
    if asked:
        assert answer.refused(403, "Forbidden").startswith(asked)
    else:
        assert answer.ok(201)["status"]["userInfo"]["username"] == headers["Impersonate-User"]


async def test_what_was_taken_from_the_first_roles_comes_back_at_the_next_start(tmp_path_factory: Any) -> None:
    directory = tmp_path_factory.mktemp("again")
    settings = Settings(directory, port=0, store="memory", access_log="none")
    store = await open_store(settings)
    try:
        async with api_server(directory, opened=store, settings=settings) as api:
            (await api.delete(f"{CLUSTER_ROLES}/view")).ok()
            (await api.patch(f"{CLUSTER_ROLES}/system:basic-user", {"rules": [rule("eat", "cakes")]})).ok()
            (await api.patch(f"{CLUSTER_BINDINGS}/stark:viewer", {"subjects": []})).ok()
            kept = {
                "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}},
                "subjects": [],
            }
            (await api.patch(f"{CLUSTER_BINDINGS}/stark:user", kept)).ok()
        async with api_server(directory, opened=store, settings=settings) as api:
            assert (await api.get(f"{CLUSTER_ROLES}/view")).ok()["aggregationRule"]
            rules = (await api.get(f"{CLUSTER_ROLES}/system:basic-user")).ok()["rules"]
            assert (len(rules), rules[0]) == (4, rule("eat", "cakes"))
            assert (await api.get(f"{CLUSTER_BINDINGS}/stark:viewer")).ok()["subjects"]
            assert not (await api.get(f"{CLUSTER_BINDINGS}/stark:user")).ok().get("subjects")
    finally:
        await store.close()
