"""Which writes a webhook's rules name, what a refusal says, and that webhooks with effects are kept from dry runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.webhooks.asking import Asking
from stark.apiserver.admission.webhooks.conditions import MatchConditions
from stark.apiserver.admission.webhooks.configurations import hook_of
from stark.apiserver.admission.webhooks.matching import Rule, is_exempt, matching_resource
from stark.apiserver.admission.webhooks.metrics import VALIDATING, WebhookMetrics
from stark.apiserver.admission.webhooks.review import request_of
from stark.apiserver.callbacks import Endpoint, endpoint_of
from stark.apiserver.errors import ApiError, BadRequest
from stark.apiserver.proxy.callbacks import ready_places
from stark.apiserver.registry.admitting import ScaleView
from stark.apiserver.resources import Resource, Resources
from tests.support.roles import guard
from tests.support.server_side import ADMIN, RESOURCES, Objects, resource

Object = dict[str, Any]


def write(
    plural: str = "pods", group: str = "", subresource: str = "", operation: str = "CREATE", namespace: str = "default"
) -> Attributes:
    obj: Object = {"metadata": {"name": "a", "labels": {"app": "web"}}}
    found = resource(group, plural)
    return Attributes(operation, found, subresource, namespace if found.namespaced else "", "a", obj, None, ADMIN)


def rule(resources: str, operations: str = "*", groups: str = "*", versions: str = "*", scope: str = "*") -> Object:
    return {
        "operations": operations.split(","),
        "apiGroups": groups.split(","),
        "apiVersions": versions.split(","),
        "resources": resources.split(","),
        "scope": scope,
    }


@pytest.mark.parametrize(
    ("given", "asked", "covers"),
    [
        pytest.param(rule("pods"), write(), True, id="the resource"),
        pytest.param(rule("nodes"), write(), False, id="another resource"),
        pytest.param(rule("pods"), write(subresource="status"), False, id="a subresource is not the resource"),
        pytest.param(rule("pods/status"), write(subresource="status"), True, id="a subresource"),
        pytest.param(rule("pods/status"), write(subresource="exec"), False, id="another subresource"),
        pytest.param(rule("pods/*"), write(), True, id="all of pods has pods"),
        pytest.param(rule("pods/*"), write(subresource="eviction"), True, id="all of pods has their subresources"),
        pytest.param(rule("pods/*"), write("nodes", subresource="status"), False, id="all of pods has no nodes"),
        pytest.param(rule("*/scale"), write("deployments", "apps", "scale"), True, id="one subresource of all"),
        pytest.param(rule("*/scale"), write("deployments", "apps"), False, id="one subresource is not the resources"),
        pytest.param(rule("*"), write("deployments", "apps"), True, id="every resource"),
        pytest.param(rule("*"), write("deployments", "apps", "scale"), False, id="every resource has no subresources"),
        pytest.param(rule("*/*"), write("deployments", "apps", "scale"), True, id="everything"),
        pytest.param(rule("*/*"), write("deployments", "apps"), True, id="everything has the resources"),
        pytest.param(rule("pods", operations="UPDATE,DELETE"), write(), False, id="other operations"),
        pytest.param(rule("pods", operations="UPDATE,CREATE"), write(), True, id="one of the operations"),
        pytest.param(rule("deployments", groups="apps"), write("deployments", "apps"), True, id="the group"),
        pytest.param(rule("deployments", groups=""), write("deployments", "apps"), False, id="the core group only"),
        pytest.param(rule("pods", versions="v2"), write(), False, id="another version"),
        pytest.param(rule("pods", scope="Namespaced"), write(), True, id="in a namespace"),
        pytest.param(rule("pods", scope="Cluster"), write(), False, id="not in a namespace"),
        pytest.param(rule("nodes", scope="Cluster"), write("nodes"), True, id="without a namespace"),
        pytest.param(rule("namespaces", scope="Cluster"), write("namespaces"), True, id="a namespace is in none"),
        pytest.param(
            rule("namespaces", scope="Namespaced"), write("namespaces"), False, id="a namespace is not inside"
        ),
    ],
)
def test_a_rule_covers_what_it_names(given: Object, asked: Attributes, covers: bool) -> None:
    found = matching_resource([Rule.of(given)], asked, lambda: ())
    assert (found is not None) == covers


def test_an_equivalent_version_is_asked_for_only_when_no_rule_names_the_written_one() -> None:
    asked = write()
    other = Resource("", "v2", "Pod", "pods", "pod", True, {})
    both = [Rule.of(rule("pods", versions="v2")), Rule.of(rule("pods", versions="v1"))]
    assert matching_resource(both, asked, lambda: (other,)) is asked.resource
    assert matching_resource(both[:1], asked, lambda: (other,)) is other
    assert matching_resource(both[:1], asked, lambda: ()) is None


@pytest.mark.parametrize("plural", ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"])
def test_configurations_are_exempt_from_themselves(plural: str) -> None:
    assert is_exempt(write(plural, "admissionregistration.k8s.io"))
    assert not is_exempt(write("customresourcedefinitions", "apiextensions.k8s.io"))


class Unreached:
    async def post(self, endpoint: Endpoint, body: bytes, timeout_s: float) -> bytes:
        raise AssertionError(endpoint)


async def unchanged(obj: Mapping[str, Any], wanted: Resource) -> Object:
    return dict(obj)


async def test_a_webhook_with_effects_is_kept_from_a_dry_run() -> None:
    # No configuration of this version can say so; one that was stored by another may.
    stored = {"name": "a.b.c", "rules": [rule("pods")], "sideEffects": "Some", "clientConfig": {"url": "https://a/"}}
    hook = hook_of("c", stored, MatchConditions)
    asking = Asking(Resources(RESOURCES), Unreached(), unchanged, WebhookMetrics(CollectorRegistry()), guard())
    attributes = write()
    attributes.dry_run = True
    with pytest.raises(BadRequest) as refusal:
        await asking.question(hook, VALIDATING, attributes, Objects())
    assert refusal.value.message == 'admission webhook "a.b.c" does not support dry run'


@pytest.mark.parametrize(
    ("service", "url"),
    [
        pytest.param({"namespace": "n", "name": "s"}, "https://s.n.svc:443/", id="defaults"),
        pytest.param(
            {"namespace": "n", "name": "s", "port": 8443, "path": "/a/b"}, "https://s.n.svc:8443/a/b", id="all"
        ),
    ],
)
def test_a_service_is_called_by_its_name_in_the_cluster(service: Object, url: str) -> None:
    assert endpoint_of({"service": service}).url == url


def test_only_ready_endpoints_at_the_named_port_are_called() -> None:
    piece = {
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": True}},
        ],
        "ports": [{"name": "https", "port": 20_000}, {"name": "metrics", "port": 20_001}],
    }
    assert ready_places(piece, "https") == [("10.0.0.1", 20_000), ("10.0.0.3", 20_000)]
    assert ready_places(piece, "other") == []
    assert ready_places({**piece, "addressType": "FQDN"}, "https") == []


class Answering:
    """A webhook that says one thing."""

    def __init__(self, **response: Any) -> None:
        self._response = response

    async def post(self, endpoint: Endpoint, body: bytes, timeout_s: float) -> bytes:
        request = json.loads(body)["request"]
        response = {"uid": request["uid"], **self._response}
        return json.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        ).encode()


async def test_what_a_webhook_notes_is_kept_for_the_audit_log_also_when_it_refuses() -> None:
    hook = hook_of(
        "c", {"name": "a.b.c", "rules": [rule("pods")], "clientConfig": {"url": "https://a/"}}, MatchConditions
    )
    caller = Answering(allowed=False, auditAnnotations={"why": "because"}, warnings=["mind"])
    asking = Asking(Resources(RESOURCES), caller, unchanged, WebhookMetrics(CollectorRegistry()), guard())
    attributes = write()
    asked = await asking.question(hook, VALIDATING, attributes, Objects())
    assert asked is not None
    with pytest.raises(ApiError, match="without explanation"):
        await asking.ask(asked, VALIDATING, attributes)
    assert attributes.audit == {"a.b.c/why": "because"}
    assert attributes.warnings == ["mind"]


async def unconverted(obj: Mapping[str, Any], wanted: Resource) -> Object:
    raise AssertionError((obj, wanted))


async def test_a_scale_is_the_same_in_every_version_of_what_it_scales() -> None:
    written = resource("apps", "deployments")
    newer = dataclasses.replace(written, version="v2")
    hook = hook_of("c", {"name": "a.b.c", "rules": [rule("*/scale", versions="v2")]}, MatchConditions)
    asking = Asking(Resources([written, newer]), Unreached(), unconverted, WebhookMetrics(CollectorRegistry()), guard())
    attributes = write("deployments", "apps", "scale", "UPDATE")
    attributes.view = ScaleView(written)
    asked = await asking.question(hook, VALIDATING, attributes, Objects())
    assert asked is not None
    assert asked.shown_as is newer
    request = request_of(attributes, asked.shown_as)
    assert (request["kind"]["kind"], request["resource"]["version"]) == ("Scale", "v2")
    assert asked.obj is not None
    assert asked.obj["apiVersion"] == "autoscaling/v1"
