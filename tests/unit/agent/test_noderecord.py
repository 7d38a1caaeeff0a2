"""What a node reports of itself, and that it leaves alone what others report."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stark.agent.__main__ import main, parser, settings_from
from stark.agent.host import Pressure
from stark.agent.noderecord import Facts, gist_differs, node_status
from stark.agent.settings import AgentSettings

CALM = Pressure(memory=False, disk=False, pids=False)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
FACTS = Facts("127.0.0.1", 1, {}, {})


def given(*words: str) -> argparse.Namespace:
    return parser().parse_args(["--data-dir", "/tmp/x", *words])


def test_a_node_offers_what_it_is_told_to() -> None:
    settings = settings_from(given("--resource", "nvidia.com/gpu=2", "--resource", "ephemeral-storage=10Gi"))
    status = node_status(settings, FACTS, None, NOW, CALM)
    assert status.allocatable["nvidia.com/gpu"] == "2"
    assert status.capacity["ephemeral-storage"] == "10Gi"


@pytest.mark.parametrize("text", ["gpu", "a.b/gpu=", "a.b/gpu=x", "cpu=2", "a b=1"])
def test_what_is_no_resource_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        given("--resource", text)
    assert "is not a resource" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(("--name", "no_name"), "is no name for a node", id="no DNS name"),
        pytest.param(("--name", "a" * 254), "is no name for a node", id="too long"),
        pytest.param(("--label", "a b=c"), "is not a label", id="no label"),
        pytest.param(("--label", "a=c/d"), "is not a label", id="no label's value"),
    ],
)
def test_what_no_server_would_take_is_told_at_once(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--data-dir", "/tmp/x", *words])
    assert why in capsys.readouterr().err


def test_a_name_is_taken_in_lower_case_as_by_the_kubelet() -> None:
    assert settings_from(given("--name", " Worker-7 ")).name == "worker-7"


def test_amounts_that_somebody_else_reports_are_no_change() -> None:
    own = node_status(AgentSettings(Path("/tmp/x")), FACTS, None, NOW, CALM)
    seen = own.model_copy(update={"capacity": {**own.capacity, "nvidia.com/gpu": "2"}})
    assert not gist_differs(own, seen)
    assert gist_differs(own, own.model_copy(update={"capacity": {**own.capacity, "cpu": "77"}}))
