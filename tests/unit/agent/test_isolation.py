"""What pods of each class are given, and what the filter of system calls lets through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stark.agent.isolation import Home, Means, Unoffered, Wishes, chosen, confine, shown_for, wishes_of
from stark.agent.isolation.probing import hidden_paths, maps_users
from stark.agent.supervisor import seccomp
from stark.crds.pods import Container, Pod

ROOT = Means(separate_users=True, hidden=("/home",), views=True)
OTHER = Means(base=("user", "pid"), hidden=("/home",), views=True)
HOME = Home([Path("/data/work")], Path("/data/tmp"), [Path("/data/bundle")], "web-0")


@pytest.mark.parametrize(
    ("wanted", "refused", "expected"),
    [
        pytest.param(None, {}, "process", id="who asks for nothing gets the ordinary class"),
        pytest.param(None, {"process": "no"}, "trusted", id="or what there is"),
        pytest.param("strict", {"process": "no"}, "strict", id="who asks gets it"),
        pytest.param("trusted", {}, "trusted", id="and no more than it"),
    ],
)
def test_a_pod_gets_its_class(wanted: str | None, refused: dict[str, str], expected: str) -> None:
    assert chosen(wanted, refused) == expected


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        pytest.param("         0          0 4294967295\n", True, id="the machine itself"),
        pytest.param("0 1000 1\n1 100000 65536\n", False, id="a container without root"),
        pytest.param("0 1000 1\n", False, id="one user"),
        pytest.param("", False, id="nobody yet"),
        pytest.param("0 0 1500000000\n", False, id="one too few"),
    ],
)
def test_pods_have_users_of_their_own_where_there_are_so_many(text: str, enough: bool) -> None:
    assert maps_users(text) is enough


def test_a_class_that_cannot_be_given_is_refused_with_the_reason() -> None:
    with pytest.raises(Unoffered, match="does not offer isolation class strict: the kernel is too old"):
        chosen("strict", {"strict": "the kernel is too old"})


def test_only_the_trusted_are_not_confined() -> None:
    trusted = confine("trusted", ROOT, None, HOME, Wishes())
    assert (trusted["uid"], trusted["sandbox"]["namespaces"], trusted["mounts"]) == (None, [], [])
    process = confine("process", ROOT, 1500, HOME, Wishes())
    assert (process["uid"], process["sandbox"]["namespaces"], process["sandbox"]["proc"]) == (
        1500,
        ["mnt", "ipc"],
        "hidden",
    )
    strict = confine("strict", ROOT, 1500, HOME, Wishes())
    assert {"pid", "net", "ipc", "uts", "mnt"} == set(strict["sandbox"]["namespaces"])
    assert (strict["sandbox"]["root"], strict["sandbox"]["proc"]) == ("minimal", "own")


def test_without_root_a_user_namespace_keeps_pods_apart() -> None:
    process = confine("process", OTHER, None, HOME, Wishes())["sandbox"]
    assert (process["namespaces"], process["proc"]) == (["user", "pid", "mnt", "ipc"], "own")
    strict = confine("strict", OTHER, None, HOME, Wishes())["sandbox"]
    assert len(strict["namespaces"]) == len(set(strict["namespaces"])) == 6
    assert strict["shared"] == ["user", "net", "ipc", "uts"]
    assert (process["read_only"], process["scoped"], strict["scoped"]) == (True, True, False)


def test_what_takes_namespaces_is_not_started_without_them() -> None:
    locked = Means(landlock=True, hidden=("/data",))
    process = confine("process", locked, None, HOME, Wishes())
    assert {"/data", "/tmp", "/dev/shm"} <= set(process["sandbox"]["hide"])
    assert (process["sandbox"]["filter"], process["sandbox"]["alone"]) == (True, True)
    assert (process["mounts"], process["sandbox"]["landlock"], process["sandbox"]["read_only"]) == ([], True, True)
    with pytest.raises(Unoffered, match="take namespaces"):
        confine("process", locked, None, HOME, Wishes(run_as_user=5))
    with pytest.raises(Unoffered, match="takes namespaces"):
        confine("trusted", locked, None, HOME, Wishes(read_only_root=True))


def pod(context: dict[str, Any], whole: dict[str, Any] | None = None) -> tuple[Pod, Container]:
    container = {"name": "c", "image": "pack.stark/x:1.0.0", "securityContext": context}
    spec = {"containers": [container], "securityContext": whole or {}}
    made = Pod.model_validate({"metadata": {"name": "web", "namespace": "d", "uid": "u"}, "spec": spec})
    return made, made.spec.containers[0]


def test_the_container_counts_before_the_pod() -> None:
    made = pod({"runAsUser": 5, "seccompProfile": {"type": "Unconfined"}}, {"runAsUser": 7, "runAsGroup": 8})
    wishes = wishes_of(*made, "process", [])
    assert (wishes.run_as_user, wishes.run_as_group, wishes.filtered) == (5, 8, False)
    assert wishes_of(*made, "strict", []).filtered


def test_dropped_capabilities_are_known_by_any_spelling() -> None:
    assert wishes_of(*pod({"capabilities": {"drop": ["CAP_CHOWN", "kill"]}}), "trusted", []).drop_capabilities == (0, 5)
    assert len(wishes_of(*pod({"capabilities": {"drop": ["ALL"]}}), "trusted", []).drop_capabilities) == 41


def test_what_must_not_be_root_is_not_started_as_root() -> None:
    with pytest.raises(Unoffered, match="breaks non-root policy"):
        wishes_of(*pod({"runAsNonRoot": True, "runAsUser": 0}), "process", [])
    wishes_of(*pod({"runAsNonRoot": True}), "process", [])
    if os.geteuid() == 0:
        with pytest.raises(Unoffered, match="would run as the agent's own user, root"):
            wishes_of(*pod({"runAsNonRoot": True}), "trusted", [])


def test_the_folder_that_keeps_strangers_out_is_what_is_hidden(tmp_path: Path) -> None:
    closed, open_ = tmp_path / "closed", tmp_path / "open"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    open_.mkdir()
    outermost = next((f for f in reversed((closed / "data").parents) if not f.stat().st_mode & 1), closed)
    hidden = hidden_paths(closed / "data", [open_, open_ / "deeper"], homes=[])
    assert str(outermost) in hidden
    assert not any(Path(one) in Path(other).parents for one in hidden for other in hidden)


def test_a_program_out_of_sight_is_shown_with_what_was_installed_with_it(tmp_path: Path) -> None:
    needs = [tmp_path / "opt/bin/node", tmp_path / "harness.cjs", Path("/usr/bin/env")]
    assert shown_for("process", needs, [str(tmp_path)]) == [tmp_path / "harness.cjs", tmp_path / "opt"]
    assert shown_for("strict", [*needs, tmp_path], []) == [tmp_path, tmp_path / "harness.cjs", tmp_path / "opt"]


def judged(machine: str, number: int, *arguments: int, architecture: int | None = None, alone: bool = False) -> int:
    """What the kernel would do with a system call: the filter, interpreted."""
    program = seccomp.compose(machine, alone=alone)
    lines = [program[at : at + 8] for at in range(0, len(program), 8)]
    known = seccomp.ARCHITECTURES[machine][0] if architecture is None else architecture
    data = {0: number, 4: known, 16: 0, 24: 0, **{16 + 8 * at: value for at, value in enumerate(arguments)}}
    at = loaded = 0
    while True:
        code, jt, jf, value = (
            int.from_bytes(lines[at][:2], "little"), lines[at][2], lines[at][3], int.from_bytes(lines[at][4:], "little"),
        )  # fmt: skip
        at += 1
        match code:
            case seccomp.LOAD:
                loaded = data[value] & 0xFFFF_FFFF
            case seccomp.RETURN:
                return value
            case _:
                tests = {
                    seccomp.EQUAL: loaded == value,
                    seccomp.GREATER: loaded > value,
                    seccomp.ANY_OF: loaded & value,
                }
                at += jt if tests[code] else jf


REFUSED, UNKNOWN, NO_FAMILY = 0x0005_0001, 0x0005_0026, 0x0005_0061


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1), ("riscv64", 1)])
def test_the_filter_refuses_what_reaches_for_the_kernel(machine: str, column: int) -> None:
    for numbers in seccomp.REFUSED.values():
        assert numbers[column] < 0 or judged(machine, numbers[column]) == REFUSED
    assert judged(machine, seccomp.CLONE[column], 0x1000_0000) == REFUSED
    assert judged(machine, seccomp.IOCTL[column], 3, 0x5412) == REFUSED
    for family in (0, 31, 38, 40, 44):
        assert judged(machine, seccomp.SOCKET[column], family) == NO_FAMILY
    assert judged(machine, seccomp.PERSONALITY[column], 0x0004_0000) == REFUSED
    assert judged(machine, seccomp.CLONE3[column]) == UNKNOWN
    assert judged(machine, seccomp.LAST + 1) == judged(machine, 0x4000_0001) == UNKNOWN
    assert judged(machine, 0, architecture=0x4000_0003) == 0x8000_0000


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1), ("riscv64", 1)])
def test_the_filter_lets_programs_be(machine: str, column: int) -> None:
    refused = {numbers[column] for numbers in seccomp.REFUSED.values()} | {
        seccomp.CLONE3[column],
        seccomp.SOCKET[column],
    }
    for number in set(range(seccomp.LAST + 1)) - refused:
        assert judged(machine, number) == seccomp.ALLOW, number
    assert judged(machine, seccomp.CLONE[column], 0x003D_0F00) == seccomp.ALLOW  # a thread
    assert {judged(machine, seccomp.SOCKET[column], family) for family in seccomp.FAMILIES} == {seccomp.ALLOW}
    assert judged(machine, seccomp.PERSONALITY[column], 0xFFFF_FFFF) == seccomp.ALLOW


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1), ("riscv64", 1)])
def test_who_shares_a_user_and_has_no_namespaces_reaches_nobody_by_them(machine: str, column: int) -> None:
    assert judged(machine, seccomp.SOCKET[column], seccomp.AF_UNIX, alone=True) == NO_FAMILY
    assert judged(machine, seccomp.SOCKET[column], 10, alone=True) == seccomp.ALLOW
    assert judged(machine, seccomp.PRLIMIT[column], 0, alone=True) == seccomp.ALLOW
    assert judged(machine, seccomp.PRLIMIT[column], 4711, alone=True) == REFUSED
    for numbers in seccomp.SHARED_WITH_USER.values():
        assert judged(machine, numbers[column], alone=True) == REFUSED
