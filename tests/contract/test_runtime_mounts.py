"""A container's own view of the files, and its namespaces, as the supervisor makes them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from stark.agent.supervisor.mounts import SYSTEM
from tests.support.agents import processes_of, until
from tests.support.runs import Bench, bench

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a view made by root")
SHELL = ["/bin/sh", "-ec"]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "pod") as made:
        yield made


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A folder with one file."""
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o755)
    (folder / "note").write_text("kept")
    return folder


def at(target: str, source: Path, **more: Any) -> dict[str, Any]:
    return {"source": str(source), "target": target, "read_only": False, **more}


async def said(run: Bench, script: str, mounts: list[dict[str, Any]], **more: Any) -> str:
    """What a shell prints in a container with these mounts; it must end well."""
    run.start_argv([*SHELL, script], mounts=mounts, **more)
    ended = await run.event("exited")
    assert ended["code"] == 0, (ended, run.output())
    return run.output()


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/stark-test-volume", id="in the root"),
        pytest.param("/etc/stark-test-app/conf.d", id="two levels below a folder that exists"),
        pytest.param("/var/run/stark-test/secrets", id="behind a symbolic link of the host"),
    ],
)
async def test_a_missing_target_is_never_made_on_the_host(run: Bench, volume: Path, target: str) -> None:
    script = f"cat {target}/note; echo more > {target}/other; test -e /etc/hostname -a -e /usr/bin/env && echo , all"
    assert await said(run, script, [at(target, volume)]) == "kept, all"
    assert (volume / "other").read_text() == "more\n"
    names = (f"{folder}/stark-test{rest}" for folder in ("", "/etc", "/run") for rest in ("", "-app", "-volume"))
    assert not any(map(os.path.lexists, names))


async def test_a_file_is_mounted_over_a_file_and_where_there_is_none(run: Bench, volume: Path) -> None:
    mounts = [at("/etc/hostname", volume / "note"), at("/etc/stark-test.conf", volume / "note", read_only=True)]
    assert await said(run, "cat /etc/hostname /etc/stark-test.conf", mounts) == "keptkept"
    assert "stark-test.conf" not in os.listdir("/etc")


async def test_what_is_read_only_is_so_with_all_below_it(run: Bench, volume: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    mounts = [at("/data", volume, read_only=True), at("/data/sub", inner)]
    script = "(echo no > /data/note) 2>/dev/null || echo refused; echo yes > /data/sub/file; cat /data/sub/file"
    assert await said(run, script, mounts) == "refused\nyes"
    assert (volume / "note").read_text() == "kept"
    assert (inner / "file").read_text() == "yes\n"


async def test_volumes_lie_within_volumes_and_siblings_do_not_mix(run: Bench, volume: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "note").write_text("other")
    text = await said(run, "cat /a/note /a/b/c/note", [at("/a/b/c", other), at("/a", volume)])
    assert text == "keptother"


async def test_a_link_that_a_pod_has_planted_leads_nowhere(run: Bench, volume: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (volume / "trap").symlink_to(outside)
    run.start_argv([*SHELL, "true"], mounts=[at("/data", volume), at("/data/trap/made", volume)])
    ended = await run.event("exited")
    assert (ended["code"], ended["reason"]) == (128, "InitError")
    assert list(outside.iterdir()) == []


async def test_a_source_within_a_volume_does_not_lead_out_of_it(run: Bench, volume: Path) -> None:
    (volume / "away").symlink_to("/etc")
    (volume / "near").symlink_to("note")
    assert await said(run, "cat /near", [at("/near", Path("near"), within=str(volume))]) == "kept"
    run.start_argv([*SHELL, "true"], attempt=1, mounts=[at("/away", Path("away"), within=str(volume))])
    while (ended := await run.event("exited"))["attempt"] != 1:
        pass
    assert ended["code"] == 128


async def test_a_program_of_a_volume_does_not_become_root(run: Bench, volume: Path) -> None:
    shutil.copy("/usr/bin/id", volume)
    (volume / "id").chmod(0o4755)
    who = {"uid": 1_500_000_001, "gid": 1_500_000_001, "cwd": "/"}
    assert await said(run, "/data/id -u", [at("/data", volume)], **who) == "1500000001"


async def test_commands_beside_a_container_see_what_it_sees(run: Bench, volume: Path) -> None:
    run.start_argv(["/bin/sleep", "60"], mounts=[at("/stark-test-volume", volume)])
    await run.event("started")
    result = await run.link.exec("main", ["/bin/cat", "/stark-test-volume/note"], 10.0)
    assert (result.code, result.output) == (0, "kept")


async def test_what_is_hidden_shows_only_what_is_mounted_in_it(run: Bench, volume: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "mine").mkdir(parents=True)
    (hidden / "secret").write_text("secret")
    (hidden / "mine/file").write_text("mine")
    sandbox = {"namespaces": ["mnt"], "hide": [str(hidden), str(volume / "note")]}
    read = f"ls {hidden}; cat {hidden}/mine/file; echo; cat {volume}/note"
    script = f"{read}; (echo x > {hidden}/new) 2>/dev/null || echo sealed"
    text = await said(run, script, [at(str(hidden / "mine"), hidden / "mine")], sandbox=sandbox)
    assert text.split() == ["mine", "mine", "sealed"]


async def test_a_program_in_its_own_pid_namespace_is_alone_and_ends_by_signals(run: Bench) -> None:
    run.start_argv(["/bin/sleep", "60"], sandbox={"namespaces": ["mnt", "pid"], "proc": "own"})
    await run.event("started")
    script = "echo /proc/[0-9]*/; (sleep 0.01 &); sleep 0.1; echo /proc/[0-9]*/"
    result = await run.link.exec("main", [*SHELL, script], 10.0)
    assert [len(line.split()) for line in result.output.splitlines()] == [3, 3]
    run.link.stop("main", 10.0, "Test")
    assert (await run.event("exited"))["signal"] == 15


async def test_nothing_of_a_pid_namespace_outlives_its_program(run: Bench) -> None:
    sandbox = {"namespaces": ["mnt", "pid"], "proc": "own"}
    run.start_argv([*SHELL, "setsid sleep 1000 & sleep 0.1; exit 3"], sandbox=sandbox)
    assert (await run.event("exited"))["code"] == 3
    await until("all of it has ended", lambda: len(processes_of(run.folder)) == 1)


async def test_a_minimal_root_has_programs_and_no_more(run: Bench, volume: Path) -> None:
    sandbox = {"namespaces": ["mnt", "pid", "net", "ipc", "uts"], "root": "minimal", "proc": "own", "hostname": "web-0"}
    script = "ls -m /; hostname; test -w /usr || echo no; echo x > /dev/null; tail -n +3 /proc/net/dev | cut -d: -f1"
    text = await said(
        run, script + "; touch /new 2>/dev/null || echo no", [at("/data", volume)], sandbox=sandbox, cwd="/"
    )
    roots, *lines = text.splitlines()
    assert set(roots.split(", ")) <= {"data", "dev", "proc", *SYSTEM}
    assert [line.strip() for line in lines] == ["web-0", "no", "lo", "no"]


async def test_commands_join_where_the_interpreter_of_the_supervisor_is_out_of_sight(run: Bench) -> None:
    sandbox = {"namespaces": ["mnt"], "hide": [sys.base_prefix] if sys.base_prefix != "/usr" else []}
    limits: dict[str, Any] = {"rlimits": [[7, 64, 64]], "cwd": "/"}
    run.start_argv(["/bin/sleep", "60"], sandbox=sandbox, **limits)
    await run.event("started")
    result = await run.link.exec("main", [*SHELL, "ulimit -n"], 10.0)
    assert (result.code, result.output) == (0, "64\n")


USER: dict[str, Any] = {"uid": 1_500_000_001, "gid": 1_500_000_001}
PROCESS = {"namespaces": ["mnt", "ipc"], "proc": "hidden"}


async def test_a_working_directory_is_entered_by_the_container_s_user_and_not_by_root(
    run: Bench, tmp_path: Path
) -> None:
    inner = tmp_path / "closed/open"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    (inner / "secret").write_text("secret")
    for attempt, folder in enumerate((inner, f"/proc/{os.getpid()}/root{inner}")):
        run.start_argv(["/bin/cat", "secret"], attempt=attempt, cwd=str(folder), sandbox=PROCESS, **USER)
        while (ended := await run.event("exited"))["attempt"] != attempt:
            pass
        assert (ended["code"], ended["reason"]) == (128, "InitError"), run.output(attempt=attempt)


def file_text(path: str) -> str:
    return Path(path).read_text()


@pytest.fixture
def segment() -> Iterator[None]:
    """Shared memory of the host."""
    made = subprocess.run(["/usr/bin/ipcmk", "-M", "4096"], capture_output=True, text=True, check=True).stdout
    yield
    subprocess.run(["/usr/bin/ipcrm", "-m", made.split()[-1]], check=True)


@pytest.mark.usefixtures("segment")
async def test_nothing_in_memory_is_shared_with_the_host_or_outlives_a_container(run: Bench) -> None:
    script = "touch /dev/shm/stark-test; ls /dev/shm; ipcs -m | grep -c 0x || true; ipcmk -M 4096 >/dev/null; ipcs -m"
    text = await said(run, script, [], sandbox=PROCESS, cwd="/", **USER)
    assert text.splitlines()[:2] == ["stark-test", "0"]
    assert "stark-test" not in os.listdir("/dev/shm")
    assert str(USER["uid"]) in text
    assert str(USER["uid"]) not in file_text("/proc/sysvipc/shm")


async def test_containers_of_a_pod_have_their_shared_memory_in_common(run: Bench) -> None:
    sandbox = {**PROCESS, "shared": ["ipc"]}
    run.start_argv(["/bin/sleep", "60"], "first", sandbox=sandbox, **USER, cwd="/")
    await run.event("started", "first")
    result = await run.link.exec("first", ["/usr/bin/ipcmk", "-M", "4096"], 10.0)
    assert result.code == 0, result
    assert "1500000001" in await said(run, "ipcs -m", [], sandbox=sandbox, cwd="/", **USER)
    run.link.stop("first", 0.0, "Test")
    await run.event("exited", "first")


async def test_a_container_that_takes_all_terminals_leaves_those_of_the_host(run: Bench) -> None:
    script = """import os
held = []
try:
    while len(held) < 5_000:
        held.append(os.openpty())
except OSError:
    os.write(held[-1][1], b"x")
    print(len(held), os.ttyname(held[-1][1]))
"""
    command = shlex.join(["/usr/bin/python3", "-I", "-c", script])
    count, name = (await said(run, command, [], sandbox=PROCESS, cwd="/", **USER)).split()
    assert (int(count) <= 256, name) == (True, f"/dev/pts/{int(count) - 1}")
    for fd in os.openpty():
        os.close(fd)


async def test_containers_that_share_a_user_cannot_be_two(run: Bench) -> None:
    sandbox = {"namespaces": ["user", "mnt", "ipc"], "shared": ["user", "ipc"], "run_as_user": 5}
    run.start_argv(["/bin/sleep", "60"], "first", sandbox=sandbox, cwd="/")
    await run.event("started", "first")
    run.start_argv(["/bin/true"], sandbox={**sandbox, "run_as_user": 6}, cwd="/")
    assert "another runAsUser" in (await run.event("refused"))["message"]
    run.link.stop("first", 0.0, "Test")
    await run.event("exited", "first")
