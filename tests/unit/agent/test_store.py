"""What the node keeps: ports by pod, control-group figures, and the agent's own notes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from stark.agent.cgroups import cpu_quota_us, cpu_shares, cpu_weight
from stark.agent.noderecord import parse_taint
from stark.agent.ports import NoPort, PortBook
from stark.agent.records import InUse, PodNote, PodRecords
from stark.agent.supervisor.link import read_state
from stark.agent.supervisor.wire import Lines, decode, encode
from stark.crds.meta import decode as decode_object
from stark.crds.pods import Pod


def pod(uid: str, *ports: dict[str, object]) -> Pod:
    container = {"name": "main", "image": "pack.stark/a:1.0.0", "ports": list(ports)}
    return decode_object({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": [container]}}, Pod)


def test_ports_are_free_distinct_and_kept() -> None:
    book = PortBook()
    first = book.assign(pod("a", {"name": "http", "containerPort": 80}, {"containerPort": 81}))
    second = book.assign(pod("b", {"name": "http", "containerPort": 80}))
    assert set(first) == {"http", "81"}
    assert len({*first.values(), *second.values()}) == 3
    assert book.assign(pod("a", {"name": "http", "containerPort": 80}, {"containerPort": 81})) == first


def test_a_port_that_somebody_took_meanwhile_is_replaced() -> None:
    book = PortBook()
    port = book.assign(pod("a", {"containerPort": 80}))["80"]
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        assert book.assign(pod("a", {"containerPort": 80}))["80"] != port
        assert book.assign(pod("a", {"containerPort": 80}), frozenset({"main"}))["80"] != port


def test_a_host_port_is_taken_literally_or_refused() -> None:
    book = PortBook()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.listen()
        with pytest.raises(NoPort, match=str(port)):
            book.assign(pod("a", {"containerPort": 80, "hostPort": port}))
    assert book.assign(pod("a", {"containerPort": 80, "hostPort": port})) == {"80": port}
    with pytest.raises(NoPort, match="another pod"):
        book.assign(pod("b", {"containerPort": 80, "hostPort": port}))


@pytest.mark.parametrize(
    ("milli", "shares", "weight", "quota"),
    [(None, 2, 1, None), (250, 256, 10, 25_000), (1000, 1024, 39, 100_000), (2, 2, 1, 1_000)],
)
def test_cpu_figures_are_kubernetes(milli: int | None, shares: int, weight: int, quota: int | None) -> None:
    assert (cpu_shares(milli), cpu_weight(milli)) == (shares, weight)
    assert milli is None or cpu_quota_us(milli) == quota


def test_notes_survive_and_damaged_ones_are_none(tmp_path: Path) -> None:
    records = PodRecords(tmp_path)
    records.save_pod(pod("a"))
    records.save_note("a", PodNote({"http": 20_000}, 1_500_000_000))
    with pytest.raises(InUse):
        PodRecords(tmp_path)
    records.close()
    again = PodRecords(tmp_path)
    assert again.uids() == ["a"]
    assert again.pod("a") == pod("a")
    assert again.note("a") == PodNote({"http": 20_000}, 1_500_000_000)
    assert again.free_user() == 1_500_000_001
    (tmp_path / "pods/a/pod.json").write_text("{half")
    (tmp_path / "pods/a/agent.json").write_text("")
    assert again.pod("a") is None
    assert again.note("a") == PodNote()
    again.close()


def test_the_state_file_is_read_up_to_a_torn_line(tmp_path: Path) -> None:
    def line(ev: str, attempt: int) -> bytes:
        return encode({"ev": ev, "name": "main", "attempt": attempt, "state": "x"})

    path = tmp_path / "state.jsonl"
    path.write_bytes(line("started", 0) + line("exited", 0) + line("started", 1) + line("exited", 1)[:20])
    ((last, previous),) = read_state(tmp_path)
    assert (last["ev"], last["attempt"]) == ("started", 1)
    assert previous is not None
    assert (previous["ev"], previous["attempt"]) == ("exited", 0)
    assert read_state(tmp_path / "absent") == []


def test_the_supervisors_json_is_json() -> None:
    value = {"a": [1, 2.5, None, True], "b": {"ü": 'x"\n'}, "c": []}
    assert decode(encode(value)) == value
    for wrong in (b"", b"[1]", b"{} {}", b"{"):
        with pytest.raises(ValueError):
            decode(wrong)
    lines = Lines(10)
    assert lines.feed(b"one\ntw") == [b"one"]
    assert lines.feed(b"o\n") == [b"two"]
    with pytest.raises(ValueError):
        lines.feed(b"x" * 11)


@pytest.mark.parametrize("text", ["a=b:NoSchedule", "a:NoExecute"])
def test_a_taint_is_read(text: str) -> None:
    assert parse_taint(text).key == "a"


@pytest.mark.parametrize("text", ["a", "a=b", ":NoSchedule", "a:Sometimes"])
def test_what_is_no_taint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="taint"):
        parse_taint(text)


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"7",
        b'"a"',
        b'{"ev":"started"}',
        b'{"ev":"started","name":"a"}',
        b'{"ev":"exited","name":[],"attempt":1}',
    ],
)
def test_a_record_that_says_nothing_of_a_run_is_passed_over(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "state.jsonl").write_bytes(line + b"\n" + encode({"ev": "exited", "name": "b", "attempt": 2, "new": 1}))
    ((view, previous),) = read_state(tmp_path)
    assert (view["name"], view["attempt"], view["new"], previous) == ("b", 2, 1, None)
    assert (view["state"], view["code"], view["reason"], view["tag"]) == ("exited", 0, "", {}), "an older supervisor's"


def test_what_is_no_pods_folder_is_let_alone(tmp_path: Path) -> None:
    records = PodRecords(tmp_path)
    records.save_pod(pod("a"))
    for name in ("lost+found", "a.bak", "x" * 65):
        (tmp_path / "pods" / name).mkdir()
    assert records.uids() == ["a"]
    records.close()
