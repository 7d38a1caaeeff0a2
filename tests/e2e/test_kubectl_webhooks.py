"""kubectl meets webhooks: one that changes what is applied, one that refuses it, one that is dead; and a converting one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubectl import SKEW, Kubectl, kubectl_on
from tests.support.webhooks import WebhookServer, configuration, patch, rule, webhook, webhook_server

Object = dict[str, Any]
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}


@pytest.fixture(params=[SKEW[-1], pytest.param(SKEW[0], marks=pytest.mark.slow)])
async def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with kubectl_on(request.param, tmp_path, Kubectl) as program:
        yield program


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path) as server:
        yield server


async def apply(kubectl: Kubectl, body: Object, *options: str, code: int = 0) -> str:
    said = await kubectl("apply", "-f", "-", *options, stdin=json.dumps(body), code=code)
    await kubectl.api.running.feed.current(5)
    return said


async def test_apply_is_changed_by_one_webhook_and_refused_by_another(kubectl: Kubectl, hooks: WebhookServer) -> None:
    hooks.answer("/team", **patch({"op": "add", "path": "/metadata/labels", "value": {"team": "red"}}))
    hooks.answer("/deny", allowed=False, status={"code": 403, "reason": "Forbidden", "message": "not on a Sunday"})
    both = [rule(operations=["CREATE", "UPDATE"])]
    blocked = {"objectSelector": {"matchLabels": {"blocked": "yes"}}}
    said = await apply(kubectl, configuration("Mutating", "team", webhook(hooks, "/team", rules=both)))
    assert said == "mutatingwebhookconfiguration.admissionregistration.k8s.io/team created\n"
    await apply(kubectl, configuration("Validating", "deny", webhook(hooks, "/deny", rules=both, **blocked)))
    assert await apply(kubectl, MAP) == "configmap/a created\n"
    assert await kubectl("get", "configmap", "a", "-o", "jsonpath={.metadata.labels.team}") == "red"
    assert await apply(kubectl, MAP) == "configmap/a unchanged\n"
    assert await apply(kubectl, {**MAP, "data": {"x": "2"}}, "--dry-run=server") == (
        "configmap/a configured (server dry run)\n"
    )
    hooks.answer("/team", **patch({"op": "add", "path": "/metadata/labels", "value": {"blocked": "yes"}}))
    said = await apply(kubectl, {**MAP, "data": {"x": "3"}}, code=1)
    assert 'admission webhook "deny.example.com" denied the request: not on a Sunday' in said
    rows = (await kubectl("get", "mutatingwebhookconfigurations,validatingwebhookconfigurations")).splitlines()
    assert [row.split()[:2] for row in rows if row][1] == [
        "mutatingwebhookconfiguration.admissionregistration.k8s.io/team",
        "1",
    ]


async def test_a_dead_webhook_is_named_with_what_happened(kubectl: Kubectl, hooks: WebhookServer) -> None:
    dead = webhook(hooks, "/x", clientConfig={"url": "https://127.0.0.1:1/x"})
    await apply(kubectl, configuration("Validating", "dead", dead))
    said = await apply(kubectl, MAP, code=1)
    assert (
        'Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: Post "https' in said
    )
    await apply(kubectl, configuration("Validating", "dead", {**dead, "failurePolicy": "Ignore"}))
    assert await apply(kubectl, MAP) == "configmap/a created\n"
    assert "deleted" in await kubectl("delete", "validatingwebhookconfiguration", "dead")
