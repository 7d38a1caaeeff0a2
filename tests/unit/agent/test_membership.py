"""Whether an agent is its node: what it remembers of itself, when it was heard, and what it does when it is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stark.agent.membership import HEARD_FILE, Contact, Membership, holder_of
from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.client.errors import Conflict, Superseded, error_from_status
from stark.crds.annotations import AnnotationError, stop_when_disconnected_s
from stark.crds.incarnations import Holder, Incarnation


def test_an_installation_outlives_processes_and_is_not_copied_with_its_directory(tmp_path: Path) -> None:
    first, again = holder_of(tmp_path, "machine"), holder_of(tmp_path, "machine")
    assert first.installation == again.installation
    assert first.process != again.process
    assert holder_of(tmp_path, "another machine").installation != first.installation
    assert (tmp_path / "installation").stat().st_mode & 0o077 == 0


def test_whoever_cannot_read_who_they_are_does_not_become_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "installation").mkdir()
    with pytest.raises(OSError, match="installation"):
        holder_of(tmp_path, "machine")


def test_silence_is_counted_over_a_restart_of_the_agent_and_not_over_one_of_the_machine(tmp_path: Path) -> None:
    contact = Contact(tmp_path, "boot-1")
    contact.heard(keep=True)
    path = tmp_path / HEARD_FILE
    boot, at = path.read_text().split()
    path.write_text(f"{boot} {float(at) - 100}")
    assert 100 <= Contact(tmp_path, "boot-1").silent_s < 160
    assert Contact(tmp_path, "boot-2").silent_s < 60
    path.write_text("nonsense")
    assert Contact(tmp_path, "boot-1").silent_s < 60


def test_silence_is_kept_on_disk_only_when_some_pod_asks_for_it(tmp_path: Path) -> None:
    Contact(tmp_path, "boot-1").heard(keep=False)
    assert not (tmp_path / HEARD_FILE).exists()


async def test_whoever_is_fenced_waits_until_it_has_claimed_again() -> None:
    membership = Membership(Client(ClientConfig(server="http://127.0.0.1:1")), Holder("i", "p"))
    assert membership.over.is_set()
    membership.claimed(Incarnation("u", 1, membership.holder))
    assert membership.current.is_set()
    assert not membership.over.is_set()
    waiting = asyncio.create_task(membership.over.wait())
    for _ in range(2):
        membership.refused(Superseded("moved on"))
    await asyncio.wait_for(waiting, 1)
    assert not membership.current.is_set()
    assert membership.has_held


@pytest.mark.parametrize(
    ("reason", "kind", "held"),
    [
        pytest.param("StaleIncarnation", Superseded, False, id="a life that is over"),
        pytest.param("IdentityHeld", Superseded, True, id="another agent is the node"),
        pytest.param("", Conflict, False, id="any other conflict is one"),
    ],
)
def test_a_refusal_says_what_it_is_about(reason: str, kind: type[Conflict], held: bool) -> None:
    causes = [{"reason": reason, "message": "m", "field": "f"}] if reason else []
    status = {"kind": "Status", "reason": "Conflict", "message": "m", "details": {"causes": causes}}
    error = error_from_status(409, status)
    assert type(error) is kind
    assert isinstance(error, Superseded) == bool(reason)
    assert getattr(error, "is_held_by_another", False) == held


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "1" * 10])
def test_a_pods_patience_is_a_number_of_seconds(text: str) -> None:
    key = "stark.dev/stop-when-disconnected-seconds"
    assert stop_when_disconnected_s({key: "60"}) == 60
    assert stop_when_disconnected_s({}) is None
    with pytest.raises(AnnotationError, match="whole number of seconds"):
        stop_when_disconnected_s({key: text})
