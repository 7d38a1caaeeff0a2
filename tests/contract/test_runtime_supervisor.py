"""What the supervisor promises, whichever runtime it runs: one process per container, everything on record, no orphans."""

from __future__ import annotations

import asyncio
import compileall
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from stark.agent import supervisor
from stark.agent.supervisor import kernel
from stark.agent.supervisor.link import ShimLink, SupervisorError, read_state, start_supervisor
from tests.support.agents import alive, nothing_left, until
from tests.support.runs import Bench, bench

RSS_MAX_BYTES = 8 << 20
SESSION_KEYRING = -3


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """As after an installation: what compiles its own modules needs a megabyte more."""
    compileall.compile_dir(Path(supervisor.__file__).resolve().parent, quiet=1)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "pod") as made:
        yield made


async def test_a_supervisor_is_small_and_detached(run: Bench) -> None:
    run.start_argv(["/bin/sleep", "60"])
    await run.event("started")
    found = psutil.Process(run.link.pid)
    assert found.memory_info().rss <= RSS_MAX_BYTES
    assert os.getsid(found.pid) == found.pid != os.getsid(0)
    assert found.ppid() != os.getpid()


async def test_a_container_never_has_two_processes(run: Bench) -> None:
    run.start_argv(["/bin/sleep", "60"], attempt=0)
    await run.event("started")
    run.start_argv(["/bin/sleep", "60"], attempt=1)
    refused = await run.event("refused")
    assert refused["attempt"] == 1
    assert len(psutil.Process(run.link.pid).children()) == 1


async def test_a_new_agent_is_told_everything(run: Bench, tmp_path: Path) -> None:
    run.start_argv(["/bin/sh", "-c", "exit 3"], "short")
    await run.event("exited", "short")
    run.start_argv(["/bin/sleep", "60"], "long")
    await run.event("started", "long")
    await run.link.close()
    other = ShimLink(lambda _event: None, lambda: None)
    views = {view["name"]: view for view in await other.connect(tmp_path / "pod")}
    assert (views["short"]["state"], views["short"]["code"]) == ("exited", 3)
    assert views["long"]["state"] == "running"
    other.stop("long", 0.0, "TestEnds")
    other.shut_down()
    await until("it has ended", lambda: not (tmp_path / "pod" / "shim.sock").exists())
    await other.close()


async def test_starts_and_exits_are_on_disk_before_anyone_hears_of_them(run: Bench, tmp_path: Path) -> None:
    run.start_argv(["/bin/sh", "-c", "exit 9"])
    await run.event("started")
    assert read_state(tmp_path / "pod")[0][0]["ev"] in ("started", "exited")
    await run.event("exited")
    ((view, _),) = read_state(tmp_path / "pod")
    assert (view["ev"], view["code"]) == ("exited", 9)


async def test_the_processes_of_a_killed_supervisor_die_with_it(run: Bench) -> None:
    run.start_argv(["/bin/sleep", "60"])
    pid = (await run.event("started"))["pid"]
    os.kill(run.link.pid, signal.SIGKILL)
    await asyncio.wait_for(run.lost.wait(), 5)
    await until("the child has died", lambda: not alive(pid))
    with pytest.raises(SupervisorError):
        run.link.stop("main", 0.0, "x")


async def test_what_a_container_left_behind_dies_with_it_even_in_a_session_of_its_own(run: Bench) -> None:
    execution = "marked-execution"
    run.start_argv(
        ["/bin/sh", "-c", "setsid sleep 1000 & sleep 0.3; exit 0"],
        env={"PATH": "/usr/bin:/bin", "STARK_EXECUTION_ID": execution},
        execution=execution,
    )
    await run.event("exited")
    await until("nothing is left", lambda: not psutil.Process(run.link.pid).children())


async def test_a_command_runs_in_the_containers_surroundings(run: Bench) -> None:
    run.start_argv(["/bin/sleep", "60"], env={"PATH": "/usr/bin:/bin", "MARK": "inside"})
    await run.event("started")
    done = await run.link.exec("main", ["/bin/sh", "-c", "echo $MARK; pwd; exit 4"], 5)
    assert (done.code, done.timed_out) == (4, False)
    assert done.output.splitlines() == ["inside", str(run.folder / "work/main")]
    assert (await run.link.exec("main", ["/bin/sleep", "60"], 0.2)).timed_out
    assert (await run.link.exec("main", ["/nonexistent"], 5)).code == 128
    assert (await run.link.exec("absent", ["/bin/true"], 5)).code == 126


async def test_limits_and_privileges_are_set_before_the_program_runs(run: Bench) -> None:
    script = "ulimit -n; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj; ls /proc/$$/fd"
    run.start_argv(["/bin/sh", "-c", script], rlimits=[[7, 128, 128], [4, 0, 0]])
    await run.event("exited")
    lines = run.output().splitlines()
    assert (lines[0], lines[1].split()[-1], lines[2]) == ("128", "1", "500")
    assert lines[3:] == ["0", "1", "2"], "nothing of the supervisor's is open in the program"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process another user")
async def test_a_program_runs_as_the_user_it_was_given(run: Bench, tmp_path: Path) -> None:
    run.start_argv(["/usr/bin/id", "-u"], uid=1_500_000_123, gid=1_500_000_123, cwd="/")
    await run.event("exited")
    assert run.output() == "1500000123"


async def test_a_supervisor_told_to_end_by_the_host_stops_its_containers(run: Bench) -> None:
    run.start_argv(["/bin/sh", "-c", "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"])
    await run.event("started")
    await asyncio.sleep(0.2)
    os.kill(run.link.pid, signal.SIGTERM)
    ended = await run.event("exited")
    assert (ended["code"], run.output()) == (0, "bye")
    await asyncio.wait_for(run.lost.wait(), 5)


@pytest.mark.parametrize(
    ("why", "said"), [("NodeShutdown", "NodeShutdown"), ("Unhealthy", "Unhealthy"), ("Deleted", "")]
)
async def test_the_record_says_why_a_container_was_stopped_where_that_matters_later(
    run: Bench, tmp_path: Path, why: str, said: str
) -> None:
    run.start_argv(["/bin/sleep", "60"])
    await run.event("started")
    run.link.stop("main", 5.0, why)
    await run.event("exited")
    ((view, _),) = read_state(tmp_path / "pod")
    assert (view["code"], view["reason"]) == (143, said)


async def test_the_state_file_is_compacted_and_still_complete(run: Bench, tmp_path: Path) -> None:
    (tmp_path / "pod" / "state.jsonl").write_bytes(b'{"ev":"shim","pid":0}\n' * 13_000)
    run.start_argv(["/bin/true"])
    await run.event("exited")
    run.start_argv(["/bin/true"], attempt=1)
    await run.event("exited")
    ((view, _),) = read_state(tmp_path / "pod")
    assert (view["attempt"], view["code"]) == (1, 0)


async def test_a_forgotten_supervisor_ends_by_itself_and_leaves_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "pod"
    folder.mkdir()
    async with nothing_left(folder):
        await start_supervisor(folder, idle_end_s=0.5)
        made = Bench(folder)
        await made.link.connect(folder)
        made.start_argv(["/bin/sh", "-c", "sleep 0.8; exit 6"])
        await made.event("started")
        await made.link.close()
        await asyncio.sleep(0.7)
        assert (folder / "shim.sock").exists(), "not while it has something to run"
        await until("it has ended", lambda: not (folder / "shim.sock").exists())
        assert read_state(folder)[0][0]["code"] == 6


async def test_what_a_pack_says_on_its_channel_harms_nobody_but_itself(run: Bench) -> None:
    run.start_argv(["/bin/sleep", "60"], "sibling")
    await run.event("started", "sibling")
    for attempt, said in enumerate(('"["*200000', '\'{"type":"failed","reason":"NodeShutdown"}\'')):
        script = f"import os; os.write(3, ({said}).encode() + b'\\n'); raise SystemExit(1)"
        run.start_argv(["/usr/bin/python3", "-I", "-c", script], attempt=attempt, control=True)
        ended = await run.event("exited")
        assert (ended["attempt"], ended["code"], ended["reason"]) == (attempt, 1, ("", "Error")[attempt])
    assert not run.lost.is_set()
    run.link.stop("sibling", 0.0, "Test")
    await run.event("exited", "sibling")


async def test_a_container_that_cannot_be_started_leaves_the_others_alone(run: Bench, tmp_path: Path) -> None:
    run.start_argv(["/bin/sleep", "60"], "sibling")
    await run.event("started", "sibling")
    run.start_argv(["/bin/true"], log=str(tmp_path / "missing/0.log"))
    assert "missing/0.log" in (await run.event("refused"))["message"]
    assert not run.lost.is_set()
    run.link.stop("sibling", 0.0, "Test")
    await run.event("exited", "sibling")


async def test_who_has_forgotten_where_they_belong_ends_with_the_supervisor_at_last(run: Bench) -> None:
    line = "y" * 8_000
    floods = f"echo \\$\\$ > daemon; trap : PIPE; while echo {line} || sleep 0.01; do :; done"
    writes = f'setsid /usr/bin/env -i /bin/sh -c "{floods}" & sleep 0.2'
    run.start_argv(["/bin/sh", "-c", writes])
    await run.event("exited")  # although somebody goes on writing
    daemon = int((run.folder / "work/main/daemon").read_text())
    assert psutil.pid_exists(daemon)
    run.link.shut_down()
    await asyncio.wait_for(run.lost.wait(), 10.0)
    assert not psutil.pid_exists(daemon)


def known_keys() -> str:
    return Path("/proc/keys").read_text()


async def test_keys_of_whoever_started_the_agent_stay_with_them(tmp_path: Path) -> None:
    kernel.leave_session_keys()
    add_key = 248 if os.uname().machine == "x86_64" else 217
    kernel.call("syscall", add_key, b"user", b"stark-test-key", b"secret", 6, SESSION_KEYRING)
    try:
        async with bench(tmp_path / "pod") as run:
            run.start_argv(["/bin/cat", "/proc/keys"], uid=1_500_000_001, gid=1_500_000_001, cwd="/")
            await run.event("exited")
            assert "stark-test-key" in known_keys()
            assert "stark-test-key" not in run.output()
    finally:
        kernel.leave_session_keys()


async def test_a_frozen_supervisor_holds_up_its_agent_for_a_while_only_and_ends(tmp_path: Path) -> None:
    async with bench(tmp_path / "pod") as run:
        run.start_argv(["/bin/sleep", "100"])
        pid = (await run.event("started"))["pid"]
        os.kill(run.link.pid, signal.SIGSTOP)
        with pytest.raises(SupervisorError, match="does not answer"):
            await ShimLink(lambda _: None, lambda: None).connect(tmp_path / "pod", 0.2)
        await until("it has ended, and what it ran", lambda: not psutil.pid_exists(pid))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a disk that is small")
async def test_a_supervisor_whose_disk_is_full_goes_on_and_has_everything_on_record_when_there_is_room(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "pod"
    folder.mkdir()
    kernel.mount("tmpfs", str(folder), "tmpfs", 0, "size=64k")
    try:
        async with bench(folder) as run:
            with pytest.raises(OSError, match="No space"):
                (folder / "filler").write_bytes(b"x" * (64 << 10))
            for attempt in range(12):  # more than the page that the record has already
                run.start_argv(["/bin/sh", "-c", "exit 4"], attempt=attempt)
                assert (await run.event("exited"))["code"] == 4
            assert read_state(folder)[0][0]["attempt"] < 11
            (folder / "filler").unlink()
            await until("it is on record", lambda: read_state(folder)[0][0]["attempt"] == 11)
            assert read_state(folder)[0][0]["code"] == 4
    finally:
        kernel.call("umount2", os.fsencode(folder), 2)


@pytest.mark.parametrize("spaces", [pytest.param([], id="as it is"), pytest.param(["pid", "mnt"], id="in namespaces")])
async def test_a_command_that_does_not_get_going_holds_up_nobody(run: Bench, tmp_path: Path, spaces: list[str]) -> None:
    if spaces and os.geteuid() != 0:
        pytest.skip("takes root")
    gate, closed = tmp_path / "gate", tmp_path / "closed"
    gate.touch()
    os.mkfifo(closed)  # entered like a control group: whoever enters waits for a reader
    sandbox = {"namespaces": spaces, "proc": "own"} if spaces else {}
    run.start_argv(["/bin/sleep", "60"], cgroups=[str(gate)], sandbox=sandbox)
    run.start_argv(["/bin/sleep", "60"], "sibling")
    await run.event("started", "sibling")
    gate.rename(tmp_path / "open")
    gate.symlink_to(closed)
    waiting = asyncio.create_task(run.link.exec("main", ["/bin/true"], 0.5))
    beside = await run.link.exec("sibling", ["/bin/echo", "well"], 10.0)
    assert (beside.code, beside.output, waiting.done()) == (0, "well\n", False)
    assert (await waiting).timed_out
    (tmp_path / "open").write_bytes(b"")
    (tmp_path / "open").rename(gate)
    assert (await run.link.exec("main", ["/bin/true"], 10.0)).code == 0
    gate.write_bytes(b"")  # what has entered reads like members
    run.link.stop("sibling", 0.0, "Test")
    await run.event("exited", "sibling")
