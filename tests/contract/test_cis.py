"""`starkctl audit cis` on a server that has just begun: what Stark says it meets, it is found to meet."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stark.ctl.cis.checks import CHECKS
from stark.ctl.cis.items import ITEMS, MET, NOT_APPLICABLE, NOT_MET, YOURS
from tests.support.apiserver import Api, api_server
from tests.support.ctl import Ctl

BY_CONTROLLERS = {"1.3.5"}
"""Met once controllers run."""


@pytest.fixture
async def ctl(tmp_path: Path) -> AsyncIterator[Ctl]:
    async with api_server(tmp_path / "data", store="sqlite") as api:
        yield Ctl(api, tmp_path / "home")


def test_every_item_is_there_once_with_a_reason_and_a_check_that_exists() -> None:
    assert len({item.id for item in ITEMS}) == len(ITEMS)
    assert {item.status for item in ITEMS} == {MET, NOT_MET, NOT_APPLICABLE, YOURS}
    assert all(item.reason and item.asks for item in ITEMS)
    assert {item.check for item in ITEMS if item.check} == set(CHECKS)


async def test_a_fresh_server_meets_what_is_said_of_it(ctl: Ctl) -> None:
    api: Api = ctl.api
    directory = str(api.settings.data_dir)
    where = ("--kubeconfig", str(ctl.kubeconfig()), "--data-dir", directory)
    ran = await ctl.run("audit", "cis", *where, "-o", "json")
    items = {each["id"]: each for each in json.loads(ran.out)["items"]}
    assert len(items) == len(ITEMS)
    assert {each["id"] for each in items.values() if each["regressed"]} - BY_CONTROLLERS == set()
    unchecked = {item.id for item in ITEMS if item.check and not items[item.id]["lookedAt"]}
    assert unchecked == set(), [items[each]["evidence"] for each in unchecked]


@pytest.mark.slow
async def test_what_somebody_has_made_worse_is_found(ctl: Ctl) -> None:
    api = ctl.api
    (api.settings.data_dir / "pki" / "tokens.csv").write_text("t,jane,1\n")
    (api.settings.data_dir / "admin.kubeconfig").chmod(0o644)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "everybody"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}],
    }
    (await api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)).ok(201)
    where = ("--kubeconfig", str(ctl.kubeconfig()), "--data-dir", str(api.settings.data_dir))
    ran = await ctl.run("audit", "cis", *where, "--only", "not met", "-o", "plain")
    found = {line.split()[0] for line in ran.out.splitlines()}
    assert ran.code == 1
    assert {"1.1.13", "1.2.2", "1.2.6", "5.1.1", "5.1.2", "5.1.4"} <= found
