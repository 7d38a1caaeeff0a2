"""Which rules a ClusterRole gets that is made of others."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.clusterrole_aggregation import gathered
from stark.crds.rbac import ClusterRole
from tests.support.roles import role, rule

PODS, SECRETS, NODES = rule("get", "pods"), rule("get", "secrets"), rule("get", "nodes")


def made(name: str, *rules: Any, to: str = "", own: bool = False, of: Any = None) -> ClusterRole:
    obj = role(name, *rules, own=own)
    obj["metadata"]["labels"] = {"to": to} if to else {}
    return ClusterRole.model_validate(obj if of is None else {**obj, "aggregationRule": {"clusterRoleSelectors": of}})


VIEW: Any = [{"matchLabels": {"to": "view"}}]
EDIT: Any = [{"matchLabels": {"to": "edit"}}]


@pytest.mark.parametrize(
    ("gathering", "others", "rules"),
    [
        pytest.param(made("r", PODS), [made("a", NODES, to="view")], None, id="not when it gathers nothing"),
        pytest.param(made("r", SECRETS, of=VIEW), [], [], id="none, when nobody is selected any more"),
        pytest.param(
            made("r", of=VIEW),
            [made("b", PODS, NODES, to="view"), made("a", SECRETS, to="view"), made("c", SECRETS)],
            [SECRETS, PODS, NODES],
            id="by name, of those selected",
        ),
        pytest.param(
            made("r", of=VIEW), [made("a", PODS, to="view"), made("b", PODS, to="view")], [PODS], id="each rule once"
        ),
        pytest.param(
            made("r", of=EDIT + VIEW),
            [made("a", PODS, to="view"), made("b", NODES, to="edit")],
            [NODES, PODS],
            id="by selector first",
        ),
        pytest.param(made("r", PODS, to="view", of=VIEW), [], [], id="not its own"),
        pytest.param(made("r", of=VIEW), [made("a", PODS, to="view", own=True)], [], id="none that hold for own only"),
        pytest.param(
            made("r", of=VIEW, own=True),
            [made("a", PODS, to="view", own=True), made("b", NODES, to="view")],
            [PODS, NODES],
            id="all, when it holds for own only itself",
        ),
    ],
)
def test_an_aggregated_role_gets_the_rules(gathering: ClusterRole, others: list[ClusterRole], rules: Any) -> None:
    found = gathered(gathering, [gathering, *others])
    assert found == (None if rules is None else [ClusterRole.model_validate({"rules": [r]}).rules[0] for r in rules])
