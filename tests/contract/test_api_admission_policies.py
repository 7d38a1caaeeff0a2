"""ValidatingAdmissionPolicies over the API: what is refused, warned of and let pass, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import Answer, Api, api_server, config_map
from tests.support.roles import binding as role_binding
from tests.support.roles import role, rule

ROOT = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{ROOT}/validatingadmissionpolicies"
BINDINGS = f"{ROOT}/validatingadmissionpolicybindings"
MAPS = "/api/v1/namespaces/default/configmaps"
SETTLE_TIMEOUT_S = 10.0

Object = dict[str, Any]
ALL_MAPS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """One store is enough: policies are read from the caches."""
    async with api_server(tmp_path) as server:
        yield server


def policy(name: str = "p", *, expression: str = "false", **spec: Any) -> Object:
    found: Object = {
        "matchConstraints": {"resourceRules": [ALL_MAPS]},
        "validations": [{"expression": expression}],
        **spec,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {key: value for key, value in found.items() if value is not None},
    }


def binding(name: str = "b", *, policy: str = "p", actions: tuple[str, ...] = ("Deny",), **spec: Any) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": policy, "validationActions": list(actions), **spec},
    }


async def bound(api: Api, made: Object, *bindings: Object) -> None:
    """In force, as soon as a write that the policy's marker rule names is refused."""
    (await api.post(POLICIES, made)).ok(201)
    for each in bindings or (binding(),):
        (await api.post(BINDINGS, each)).ok(201)
    # The caches hear of the objects a moment after they are acknowledged; a consistent list says when they have.
    for path in (POLICIES, BINDINGS):
        (await api.get(path)).ok()


async def write(api: Api, name: str = "m", **data: str) -> Answer:
    return await api.post(f"{MAPS}?dryRun=All", config_map(name, None, **data))


def said(answer: Answer, name: str = "m") -> str:
    """What the policy said, once the words around it have been checked."""
    text = answer.refused(422, "Invalid")
    start = f"configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
    assert text.startswith(start), text
    assert answer.body["details"]["causes"] == [{"message": text.removeprefix(f'configmaps "{name}" is forbidden: ')}]
    return text.removeprefix(start)


async def test_a_violation_is_refused_with_the_expression(api: Api) -> None:
    await bound(api, policy(expression="  object.data.size() < 2 "))
    assert said(await write(api, a="1", b="2")) == "failed expression: object.data.size() < 2"
    (await write(api, a="1")).ok(201)


async def test_the_message_is_the_policys_own(api: Api) -> None:
    rules = [
        {"expression": "!('a' in object.data)", "message": " too much a "},
        {"expression": "!('b' in object.data)", "messageExpression": "'b is ' + object.data.b", "message": "no b"},
        {"expression": "!('c' in object.data)", "messageExpression": "string(object.data.missing)", "message": "no c"},
        {"expression": "!('d' in object.data)", "messageExpression": "'two\\nlines'"},
    ]
    await bound(api, policy(validations=rules))
    assert said(await write(api, a="1")) == "too much a"
    assert said(await write(api, b="2")) == "b is 2"
    assert said(await write(api, c="3")) == "no c"
    assert said(await write(api, d="4")) == "failed expression: !('d' in object.data)"


@pytest.mark.parametrize(
    ("reason", "code"), [("Forbidden", 403), ("Unauthorized", 401), ("RequestEntityTooLarge", 413)]
)
async def test_the_reason_decides_the_code(api: Api, reason: str, code: int) -> None:
    await bound(api, policy(validations=[{"expression": "false", "reason": reason}]))
    (await write(api)).refused(code, reason)


async def test_a_policy_without_a_binding_does_nothing(api: Api) -> None:
    await bound(api, policy(), binding(policy="another"))
    (await write(api)).ok(201)


async def test_a_warning_lets_the_write_pass(api: Api) -> None:
    await bound(
        api, policy(validations=[{"expression": "false", "message": "mind"}]), binding(actions=("Warn", "Audit"))
    )
    answer = await write(api)
    answer.ok(201)
    expected = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': mind"
    assert expected in answer.headers["Warning"]


async def test_updates_see_the_old_object_and_deletions_no_new_one(api: Api) -> None:
    every = {**ALL_MAPS, "operations": ["UPDATE", "DELETE"]}
    rules = [
        {"expression": "object == null || object.data.a == oldObject.data.a", "message": "a stays"},
        {"expression": "object != null || oldObject.data.a != 'kept'", "message": "kept is kept"},
    ]
    await bound(api, policy(matchConstraints={"resourceRules": [every]}, validations=rules))
    (await api.post(MAPS, config_map("m", a="kept"))).ok(201)
    assert said(await api.patch(f"{MAPS}/m", {"data": {"a": "other"}})) == "a stays"
    (await api.patch(f"{MAPS}/m", {"data": {"b": "new"}})).ok()
    assert said(await api.delete(f"{MAPS}/m")) == "kept is kept"


async def test_variables_are_computed_once_and_used_by_others(api: Api) -> None:
    variables = [
        {"name": "keys", "expression": "object.data.map(key, key)"},
        {"name": "long", "expression": "variables.keys.filter(key, key.size() > 3)"},
    ]
    rule = {"expression": "variables.long.size() == 0", "messageExpression": "'long: ' + variables.long.join(',')"}
    await bound(api, policy(variables=variables, validations=[rule]))
    assert said(await write(api, longer="1", a="2")) == "long: longer"
    (await write(api, a="2")).ok(201)


async def test_expressions_see_the_request_and_the_namespace(api: Api) -> None:
    rule = (
        "request.operation == 'CREATE' && request.userInfo.username == 'admin' && request.namespace == 'default' && "
        "request.resource.resource == 'configmaps' && request.dryRun && 'system:masters' in request.userInfo.groups && "
        "namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == 'default' && request.name == 'm'"
    )
    await bound(api, policy(expression=f"!({rule})"))
    said(await write(api))


async def test_conditions_exclude_writes(api: Api) -> None:
    conditions = [
        {"name": "not-mine", "expression": "request.userInfo.username != 'admin'"},
        {"name": "broken", "expression": "object.missing.field == 1"},
    ]
    await bound(api, policy(matchConditions=conditions))
    (await write(api)).ok(201)


async def test_an_expression_without_a_value_is_for_the_failure_policy(api: Api) -> None:
    await bound(api, policy(expression="object.data.missing == 'x'"))
    expected = "expression 'object.data.missing == 'x'' resulted in error: no such key: missing"
    assert said(await write(api, a="1")) == expected
    changed = policy(expression="object.data.missing == 'x'", failurePolicy="Ignore")
    (await api.patch(f"{POLICIES}/p", changed)).ok()
    (await api.get(POLICIES)).ok()
    (await write(api, a="1")).ok(201)


async def test_a_policy_that_would_take_forever_is_stopped_and_the_server_goes_on(api: Api) -> None:
    loop = "[1,2,3,4,5,6,7,8,9,10]"
    dear = f"{loop}.all(a, {loop}.all(b, {loop}.all(c, {loop}.all(d, {loop}.all(e, {loop}.all(f, a > 0))))))"
    await bound(api, policy(expression=dear))
    refused, ready = await asyncio.gather(write(api), api.get("/readyz"))
    assert "actual cost limit exceeded" in said(refused)
    assert ready.status == 200


async def test_selectors_names_and_exceptions_narrow_a_policy(api: Api) -> None:
    constraints = {
        "objectSelector": {"matchLabels": {"checked": "yes"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "resourceRules": [{**ALL_MAPS, "operations": ["*"]}],
        "excludeResourceRules": [{**ALL_MAPS, "resourceNames": ["spared"]}],
    }
    await bound(api, policy(matchConstraints=constraints))

    async def labelled(name: str, namespace: str = "default", value: str = "yes") -> Answer:
        path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
        return await api.post(path, config_map(name, {"checked": value}))

    said(await labelled("m"))
    (await labelled("m", value="no")).ok(201)
    (await labelled("m", namespace="kube-system")).ok(201)
    (await labelled("spared")).ok(201)


async def test_a_binding_narrows_its_policy(api: Api) -> None:
    narrow = {"resourceRules": [{**ALL_MAPS, "resourceNames": ["only"]}]}
    await bound(api, policy(), binding(matchResources=narrow))
    (await write(api)).ok(201)
    said(await write(api, "only"), "only")


async def test_parameters_are_found_by_name_and_all_by_selector(api: Api) -> None:
    made = policy(
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        matchConditions=[{"name": "no-limits", "expression": "!has(object.data.max)"}],
        validations=[
            {
                "expression": "object.data.size() <= int(params.data.max)",
                "messageExpression": "'at most ' + params.data.max",
            }
        ],
    )
    by_name = binding(paramRef={"name": "limit", "parameterNotFoundAction": "Deny"})
    (await api.post(MAPS, config_map("limit", {"limits": "data"}, max="2"))).ok(201)
    (await api.post(MAPS, config_map("lower", {"limits": "data"}, max="1"))).ok(201)
    await bound(api, made, by_name)
    (await write(api, a="1", b="2")).ok(201)
    assert said(await write(api, a="1", b="2", c="3")) == "at most 2"
    by_selector = {"selector": {"matchLabels": {"limits": "data"}}, "parameterNotFoundAction": "Deny"}
    (await api.put(f"{BINDINGS}/b", {**binding(paramRef=by_selector), "metadata": await meta(api)})).ok()
    (await api.get(BINDINGS)).ok()
    assert said(await write(api, a="1", b="2")) == "at most 1"


async def meta(api: Api) -> Object:
    """Of the binding as it is."""
    found: Object = (await api.get(f"{BINDINGS}/b")).ok()["metadata"]
    return {"name": "b", "resourceVersion": found["resourceVersion"]}


@pytest.mark.parametrize("action", ["Allow", "Deny"])
async def test_missing_parameters_skip_the_binding_or_fail_it(api: Api, action: str) -> None:
    made = policy(paramKind={"apiVersion": "v1", "kind": "ConfigMap"})
    await bound(api, made, binding(paramRef={"name": "none", "parameterNotFoundAction": action}))
    answer = await write(api)
    if action == "Allow":
        answer.ok(201)
    else:
        assert said(answer) == (
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        )


async def test_a_kind_of_parameters_that_nobody_serves_fails_the_policy(api: Api) -> None:
    await bound(api, policy(paramKind={"apiVersion": "x.example.com/v1", "kind": "Limit"}), binding(paramRef=None))
    text = (await write(api)).refused(422, "Invalid")
    assert text.endswith(
        "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by "
        "paramKind: 'x.example.com/v1, Kind=Limit'"
    )


async def test_policies_do_not_judge_policies(api: Api) -> None:
    every = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}
    await bound(api, policy(matchConstraints={"resourceRules": [every]}))
    said(await write(api))
    (await api.delete(f"{BINDINGS}/b")).ok()
    (await api.get(BINDINGS)).ok()
    (await write(api)).ok(201)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"validations": None}, "spec.validations", "Required value"),
        ({"matchConstraints": None}, "spec.matchConstraints", "Required value"),
        ({"matchConstraints": {}}, "spec.matchConstraints.resourceRules", "Required value"),
        ({"validations": [{"expression": " "}]}, "spec.validations[0].expression", "expression is not specified"),
        ({"validations": [{"expression": "1"}]}, "spec.validations[0].expression", "must evaluate to a bool"),
        ({"validations": [{"expression": "obj"}]}, "spec.validations[0].expression", "undeclared reference to 'obj'"),
        (
            {"validations": [{"expression": "request.nam == ''"}]},
            "spec.validations[0].expression",
            "undefined field 'nam'",
        ),
        (
            {"validations": [{"expression": "params.x"}]},
            "spec.validations[0].expression",
            "undeclared reference to 'params",
        ),
        ({"validations": [{"expression": "a ==\n b"}]}, "spec.validations[0].message", "must be specified if"),
        ({"validations": [{"expression": "true", "message": "a\nb"}]}, "spec.validations[0].message", "line breaks"),
        (
            {"validations": [{"expression": "true", "messageExpression": "1"}]},
            "spec.validations[0].messageExpression",
            "must evaluate to a string",
        ),
        ({"variables": [{"name": "a-b", "expression": "1"}]}, "spec.variables[0].name", "not a valid CEL identifier"),
        ({"variables": [{"name": "a", "expression": "nope"}]}, "spec.variables[0].expression", "undeclared reference"),
        (
            {"variables": [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "1"}]},
            "spec.variables[0].expression",
            "undeclared reference to 'variables.b'",
        ),
        (
            {"auditAnnotations": [{"key": "a b", "valueExpression": "'x'"}]},
            "spec.auditAnnotations[0].key",
            "name part must consist of",
        ),
        (
            {"auditAnnotations": [{"key": "a", "valueExpression": "1"}]},
            "spec.auditAnnotations[0].valueExpression",
            "must evaluate to a string or null",
        ),
        ({"paramKind": {"apiVersion": "", "kind": "X"}}, "spec.paramKind.apiVersion", "Required value"),
    ],
)
async def test_a_wrong_policy_is_refused_with_the_place(api: Api, spec: Object, field: str, message: str) -> None:
    answer = await api.post(POLICIES, policy(**spec))
    answer.refused(422, "Invalid")
    causes = [cause for cause in answer.body["details"]["causes"] if cause["field"] == field]
    assert causes, answer.body
    assert message in causes[0]["message"]


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        (binding(policy=""), "spec.policyName", "Required value"),
        (binding(actions=()), "spec.validationActions", "Required value"),
        (binding(actions=("Deny", "Warn")), "spec.validationActions", "must not contain both Deny and Warn"),
        (binding(actions=("Deny", "Deny")), "spec.validationActions[1]", "Duplicate value"),
        (binding(paramRef={"parameterNotFoundAction": "Deny"}), "spec.paramRef", "one of name or selector"),
        (binding(paramRef={"name": "x"}), "spec.paramRef.parameterNotFoundAction", "Required value"),
    ],
)
async def test_a_wrong_binding_is_refused_with_the_place(api: Api, given: Object, field: str, message: str) -> None:
    answer = await api.post(BINDINGS, given)
    answer.refused(422, "Invalid")
    causes = {cause["field"]: cause["message"] for cause in answer.body["details"]["causes"]}
    assert message in causes[field], causes


async def test_a_misspelt_field_of_a_named_kind_is_told_in_the_status(api: Api) -> None:
    deployments = {**ALL_MAPS, "apiGroups": ["apps"], "resources": ["deployments", "configmaps"]}
    rules = [
        {"expression": "object.spec.replicas > 1 && object.metadata.labels['a'] == 'b'"},
        {"expression": "variables.template.spec.hostname == '' || object.spec.replica > 1"},
    ]
    made = policy(
        matchConstraints={"resourceRules": [deployments]},
        variables=[{"name": "template", "expression": "object.spec.template"}],
        validations=rules,
    )
    (await api.post(POLICIES, made)).ok(201)
    status = (await api.get(f"{POLICIES}/p")).ok()["status"]
    assert status["observedGeneration"] == 1
    [warning] = status["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[1].expression"
    assert warning["warning"].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:")
    assert "undefined field 'replica'" in warning["warning"]
    repaired = policy(expression="object.spec.replicas > 1", matchConstraints={"resourceRules": [deployments]})
    (await api.patch(f"{POLICIES}/p", {"spec": {**repaired["spec"], "variables": None}})).ok()
    found = (await api.get(f"{POLICIES}/p")).ok()
    assert found["status"] == {"observedGeneration": 2, "typeChecking": {}}
    assert found["metadata"]["generation"] == 2


AUTHOR = {"Impersonate-User": "paula"}


CHECKS: dict[str, tuple[str, bool]] = {
    "the object itself, which they may": ("authorizer.requestResource.check('get').allowed()", True),
    "or may not": ("authorizer.requestResource.check('approve').allowed()", False),
    "others": ("authorizer.group('').resource('secrets').namespace('a').check('get').allowed()", False),
    "a path": ("authorizer.path('/apis').check('get').allowed()", True),
    "a robot": ("authorizer.serviceAccount('a', 'robot').path('/metrics').check('get').allowed()", True),
    "another": ("authorizer.serviceAccount('a', 'x').path('/metrics').check('get').allowed()", False),
    "the reason of a no": ("authorizer.path('/x').check('get').reason() == ''", True),
    "and of a yes": ("authorizer.requestResource.check('get').reason().startsWith('RBAC: allowed by')", True),
    "several": ("['eat', 'get'].exists(verb, authorizer.requestResource.check(verb).allowed())", True),
    "the first no ends it": ("['a', 'b', 'c'].all(v, authorizer.path('/x').check(v).allowed())", False),
    "too many to be paid for": ("['a', 'b', 'get'].exists(v, authorizer.path('/apis').check(v).allowed())", False),
    "an empty path, which is an error": ("authorizer.path(' ').check('get').allowed()", False),
}


async def test_an_expression_asks_what_its_author_may_do(api: Api) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    author = role("author", rule("get create update", "configmaps"), rule("get list", "pods"))
    metrics: Object = {**role("metrics"), "rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]}
    for obj in (author, metrics):
        (await api.post(f"{rbac}/clusterroles", obj)).ok(201)
    for each in (role_binding("author", "author", "paula"), role_binding("metrics", "metrics", "sa:a/robot")):
        (await api.post(f"{rbac}/clusterrolebindings", each)).ok(201)
    found = {}
    for number, (what, (expression, _)) in enumerate(CHECKS.items()):
        concerned = [{"name": "this", "expression": f"object.metadata.name == 'c{number}'"}]
        made = policy(f"p{number}", expression=expression, matchConditions=concerned)
        await bound(api, made, binding(f"b{number}", policy=f"p{number}"))
        found[what] = (await api.post(MAPS, config_map(f"c{number}"), headers=AUTHOR)).status
    assert found == {what: 201 if allowed else 422 for what, (_, allowed) in CHECKS.items()}


async def test_a_message_is_made_without_the_authorizer_but_by_variables(api: Api) -> None:
    reason = "authorizer.path('/x').check('get').reason() + '!'"
    validation = {"expression": "false", "messageExpression": reason}
    refusal = (await api.post(POLICIES, policy(validations=[validation]))).refused(422, "Invalid")
    assert "messageExpression" in refusal
    assert "undeclared reference to 'authorizer'" in refusal
    told = {"expression": "false", "messageExpression": "variables.why"}
    await bound(api, policy(validations=[told], variables=[{"name": "why", "expression": reason}]))
    assert (await api.post(MAPS, config_map("asked"))).refused(422, "Invalid").endswith("denied request: !")


async def test_who_makes_a_policy_depend_on_objects_can_read_them(api: Api) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    group = "admissionregistration.k8s.io"
    rules = rule("create update", "validatingadmissionpolicies validatingadmissionpolicybindings", group=group)
    (await api.post(f"{rbac}/clusterroles", role("author", rules))).ok(201)
    (await api.post(f"{rbac}/clusterrolebindings", role_binding("author", "author", "paula"))).ok(201)
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    (await api.post(POLICIES, policy("plain"), headers=AUTHOR)).ok(201)
    refusal = (await api.post(POLICIES, policy(paramKind=kind), headers=AUTHOR)).refused(422, "Invalid")
    assert refusal.endswith(
        'spec.paramKind: Forbidden: user paula must have "get" permission on all objects of the referenced paramKind '
        "(kind=ConfigMap, apiVersion=v1)"
    )
    (await api.post(POLICIES, policy(paramKind=kind))).ok(201)
    ref = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
    refusal = (await api.post(BINDINGS, binding(paramRef=ref), headers=AUTHOR)).refused(422, "Invalid")
    assert refusal.endswith(
        'spec.paramRef: Forbidden: user paula does not have "get" permission on the object referenced by paramRef'
    )
    reader = role("reader", rule("get", "configmaps", names="limits"), namespace="default")
    (await api.post(f"{rbac}/namespaces/default/roles", reader)).ok(201)
    bound_reader = role_binding("reader", "reader", "paula", namespace="default")
    (await api.post(f"{rbac}/namespaces/default/rolebindings", bound_reader)).ok(201)
    (await api.post(BINDINGS, binding(paramRef=ref), headers=AUTHOR)).ok(201)
    selecting = {"selector": {}, "namespace": "default", "parameterNotFoundAction": "Deny"}
    refusal = (await api.post(BINDINGS, binding("c", paramRef=selecting), headers=AUTHOR)).refused(422, "Invalid")
    assert '"list" permission' in refusal
