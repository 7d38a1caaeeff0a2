"""Which plugins a write passes: those that are left out would have done nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes, Lookup, Plugin
from stark.apiserver.admission.chain import Chain, Concern, Only
from stark.apiserver.admission.cluster import ClusterRules
from stark.apiserver.admission.defaults import pod_defaults, pod_spec_defaults
from stark.apiserver.admission.images import pin_images
from stark.apiserver.admission.limit_ranges import limit_ranges
from stark.apiserver.admission.namespaces import lifecycle_concerns, namespace_lifecycle
from stark.apiserver.admission.ownership import Ownership, ownership_concerns
from stark.apiserver.admission.podspecs import pod_concerns, spec_concerns
from stark.apiserver.admission.priority import pod_priority
from stark.apiserver.admission.service_accounts import pod_service_account
from stark.apiserver.admission.validation import validate_object, validation_concerns
from stark.apiserver.kinds import builtin_resources
from stark.apiserver.resources import Resource, Resources
from tests.support.examples import EXAMPLES
from tests.support.server_side import ADMIN, ALICE, CONTROLLERS, Objects, node_user, resource

KINDS = Resources(builtin_resources())
CLUSTER = ClusterRules(lambda: {"defaultTerminationGracePeriodSeconds": 5, "defaultTolerationSeconds": 5}, lambda _: 0)
USERS = (ADMIN, ALICE, CONTROLLERS, node_user("n1"))
OPERATIONS = ("CREATE", "UPDATE", "DELETE")

Object = dict[str, Any]


def writes() -> Iterator[tuple[Resource, str, str, Object]]:
    """Every operation on every built-in kind and each of its subresources, with an object."""
    for kind in KINDS:
        example = EXAMPLES.get(kind.kind, {"metadata": {"name": "a"}})
        for operation in OPERATIONS:
            for subresource in ("", *kind.subresources):
                yield kind, operation, subresource, example


@pytest.mark.parametrize(
    ("plugin", "concern"),
    [
        pytest.param(namespace_lifecycle, lifecycle_concerns, id="the life of namespaces"),
        pytest.param(Ownership(KINDS), ownership_concerns, id="owners"),
        pytest.param(pin_images, spec_concerns, id="images"),
        pytest.param(CLUSTER.grace, spec_concerns, id="the cluster's grace period"),
        pytest.param(pod_spec_defaults, spec_concerns, id="defaults of templates"),
        pytest.param(pod_priority, pod_concerns, id="priorities"),
        pytest.param(CLUSTER.tolerations, pod_concerns, id="the cluster's tolerations"),
        pytest.param(pod_defaults, pod_concerns, id="defaults of pods"),
        pytest.param(pod_service_account, pod_concerns, id="accounts"),
        pytest.param(limit_ranges, pod_concerns, id="limits"),
        pytest.param(validate_object, validation_concerns, id="rules of kinds"),
    ],
)
async def test_what_does_not_concern_a_plugin_it_would_let_pass_as_it_is(plugin: Plugin, concern: Concern) -> None:
    for kind, operation, subresource, example in writes():
        if concern(kind, operation, subresource):
            continue
        for user in USERS:
            obj = copy.deepcopy(example) if operation != "DELETE" else None
            old = example if operation != "CREATE" else None
            namespace = "default" if kind.namespaced else ""
            await plugin(Attributes(operation, kind, subresource, namespace, "a", obj, old, user), Objects())
            assert obj is None or obj == example, (kind.plural, operation, subresource, user.name)


@pytest.mark.parametrize(
    ("schema", "concerned"),
    [
        pytest.param({"x-kubernetes-preserve-unknown-fields": True}, True, id="anything"),
        pytest.param({"properties": {"spec": {"additionalProperties": {}}}}, True, id="a map of whatever"),
        pytest.param(
            {"properties": {"spec": {"additionalProperties": {"type": "object"}}}}, True, id="a map of objects"
        ),
        pytest.param({"properties": {"spec": {"x-kubernetes-preserve-unknown-fields": True}}}, True, id="a free spec"),
        pytest.param({"properties": {"spec": {"properties": {"template": {"type": "object"}}}}}, True, id="a template"),
        pytest.param(
            {"properties": {"spec": {"properties": {"size": {"type": "integer"}}}}}, False, id="something else"
        ),
    ],
)
def test_a_users_kind_may_have_templates_where_its_schema_lets_them_be(schema: Object, concerned: bool) -> None:
    kind = Resource("example.com", "v1", "Thing", "things", "thing", True, schema, custom=True)
    assert spec_concerns(kind, "CREATE", "") is concerned


async def test_a_plugin_is_asked_again_as_soon_as_it_has_something_to_judge_by() -> None:
    judged: list[str] = []
    rules: list[str] = []

    async def judge(attributes: Attributes, lookup: Lookup) -> None:
        judged.append(attributes.name)

    chain = Chain(validating=[Only(judge, idle=lambda: not rules)], concluding=[Only(judge, idle=lambda: not rules)])
    for name in ("before", "after"):
        assert chain.is_alone is (not rules)
        await chain.admit(Attributes("CREATE", resource("", "pods"), "", "default", name, {}, None, ADMIN), Objects())
        rules.append("a rule")
    assert judged == ["after"]
