"""What a supervisor promises to whoever runs a command beside a container or attaches to it. All processes are real."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stark.agent.descriptors import Descriptor
from stark.agent.streams.stdio import Stdio
from stark.agent.supervisor.session import Refused, Session, open_session
from tests.support.agents import alive, until
from tests.support.runs import Bench, bench

FOREVER = ["/bin/sleep", "1000"]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "pod") as made:
        yield made


class Opened:
    """A session with its streams."""

    def __init__(self, session: Session, stdio: Stdio) -> None:
        self.session, self.stdio = session, stdio

    async def output(self, name: str = "stdout") -> bytes:
        """Everything until the end."""
        pieces = []
        async with asyncio.timeout(20):
            while data := await self.stdio.outputs[name].read():
                pieces.append(data)
        return b"".join(pieces)

    async def until(self, text: bytes) -> bytes:
        """Output up to and with `text`."""
        seen = b""
        async with asyncio.timeout(20):
            while text not in seen:
                data = await self.stdio.outputs["stdout"].read()
                assert data, seen
                seen += data
        return seen

    async def type(self, data: bytes) -> None:
        """Write to its input."""
        assert self.stdio.stdin is not None
        await self.stdio.stdin.write(data)

    async def code(self) -> int:
        """How it ended."""
        async with asyncio.timeout(20):
            return await self.session.ended()


@asynccontextmanager
async def command(run: Bench, *argv: str, tty: bool = False, container: str = "main") -> AsyncIterator[Opened]:
    """A command beside a container, with all its streams."""
    stdio = Stdio.pty(stdin=True, stdout=True) if tty else Stdio.pipes(stdin=True, stdout=True, stderr=True)
    said = {"cmd": "run", "container": container, "argv": list(argv), "tty": tty, "streams": list(stdio.theirs)}
    async with _opened(run, said, stdio) as opened:
        yield opened


@asynccontextmanager
async def attached(run: Bench, *, stdin: bool = False) -> AsyncIterator[Opened]:
    """Somebody who listens to the container `main`."""
    stdio = Stdio.pipes(stdin=False, stdout=True, stderr=True)
    said = {"cmd": "attach", "container": "main", "stdin": stdin, "streams": list(stdio.theirs)}
    async with _opened(run, said, stdio) as opened:
        if opened.session.fds:
            stdio.stdin = Descriptor(opened.session.fds.pop())
        yield opened


@asynccontextmanager
async def _opened(run: Bench, said: dict[str, Any], stdio: Stdio) -> AsyncIterator[Opened]:
    try:
        session = await open_session(run.folder, said, list(stdio.theirs.values()))
        stdio.handed_over()
        try:
            yield Opened(session, stdio)
        finally:
            session.close()
    finally:
        stdio.close()


async def started(run: Bench, argv: list[str] = FOREVER, **spec: Any) -> int:
    run.start_argv(argv, **spec)
    return int((await run.event("started"))["pid"])


async def test_a_command_has_its_containers_surroundings_and_streams_of_its_own(run: Bench) -> None:
    await started(run, env={"PATH": "/usr/bin:/bin", "COLOUR": "blue", "STARK_HARNESS": "secret"})
    async with command(run, "sh", "-c", "pwd; echo $COLOUR$STARK_HARNESS; cat; echo bad >&2; exit 7") as opened:
        await opened.type(b"typed\n")
        opened.stdio.end_input()
        assert await opened.output() == f"{run.folder}/work/main\nblue\ntyped\n".encode()
        assert await opened.output("stderr") == b"bad\n"
        assert await opened.code() == 7
    assert run.output() == ""


async def test_megabytes_pass_through_as_they_are_both_ways(run: Bench) -> None:
    await started(run)
    data = os.urandom(8 << 20)
    async with command(run, "cat") as opened:

        async def feed() -> None:
            await opened.type(data)
            opened.stdio.end_input()

        feeding = asyncio.create_task(feed())
        assert hashlib.sha256(await opened.output()).digest() == hashlib.sha256(data).digest()
        await feeding
        assert await opened.code() == 0


@pytest.mark.parametrize(
    ("argv", "container", "message"),
    [
        pytest.param(["nosuch"], "main", 'exec: "nosuch": executable file not found in $PATH', id="no program"),
        pytest.param(["/no/such"], "main", 'exec: "/no/such": no such file or directory', id="no file"),
        pytest.param(["/etc/passwd"], "main", 'exec: "/etc/passwd": permission denied', id="not a program"),
        pytest.param(["true"], "other", "container is not running", id="no container"),
    ],
)
async def test_what_cannot_be_run_is_refused(run: Bench, argv: list[str], container: str, message: str) -> None:
    await started(run)
    with pytest.raises(Refused, match=message.replace("$", r"\$")):
        async with command(run, *argv, container=container):
            pass


async def test_a_terminal_is_the_commands_own_and_has_a_size(run: Bench) -> None:
    await started(run)
    async with command(run, "sh", "-c", "echo $TERM; read line; stty size; tty; exit 3", tty=True) as opened:
        opened.stdio.resize(101, 33)
        await opened.type(b"go\n")
        seen = await opened.until(b"/dev/pts/")
        assert b"xterm" in seen
        assert b"33 101\r\n" in seen
        assert await opened.code() == 3


async def test_a_key_in_a_terminal_is_a_signal(run: Bench) -> None:
    await started(run)
    async with command(run, "cat", tty=True) as opened:
        await opened.type(b"line\n")
        await opened.until(b"line\r\nline\r\n")  # the terminal's echo, and what cat said
        await opened.type(b"\x03")
        assert await opened.code() == 130


async def test_who_leaves_hangs_up_and_what_stays_is_killed(run: Bench) -> None:
    await started(run)
    # A job in a group of its own that does not listen to the hang-up, as a shell with job control makes them.
    script = "trap '' HUP; setsid -w true; sleep 1000 & echo $!; set -m; sleep 1000 & echo $!; wait"
    async with command(run, "bash", "-c", script) as opened:
        pids = [int(word) for word in (await opened.until(b"\n")).split()]
        while len(pids) < 2:
            pids += [int(word) for word in (await opened.until(b"\n")).split()]
    await until("nothing of it is left", lambda: not any(alive(pid) for pid in pids))
    assert (await run.link.exec("main", ["/bin/true"], 5)).code == 0


async def test_a_command_dies_with_its_container(run: Bench) -> None:
    pid = await started(run, ["/bin/sh", "-c", "read line"], stdin=True)
    async with command(run, "sh", "-c", "trap '' TERM HUP; echo $$; while :; do sleep 1; done") as opened:
        own = int(await opened.until(b"\n"))
        os.kill(pid, signal.SIGKILL)
        assert await opened.code() == 137
        assert not alive(own)


async def test_what_a_command_left_running_belongs_to_the_container(run: Bench) -> None:
    execution = "marked-for-a-session"
    env = {"PATH": "/usr/bin:/bin", "STARK_EXECUTION_ID": execution}
    pid = await started(run, ["/bin/sh", "-c", "read line"], stdin=True, execution=execution, env=env)
    async with command(run, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!") as opened:
        left = int(await opened.until(b"\n"))
        assert await opened.code() == 0
    assert alive(left)
    os.kill(pid, signal.SIGKILL)
    await run.event("exited")
    await until("it has died, too", lambda: not alive(left))


async def test_a_listener_gets_everything_from_now_on_and_so_does_the_log(run: Bench) -> None:
    script = "echo before; read line; seq 1 200000; echo $line >&2; exit 4"
    await started(run, ["/bin/sh", "-c", script], stdin=True, log_max_bytes=64 << 20)
    await until("it has begun", lambda: "before" in run.output())
    async with attached(run, stdin=True) as one, attached(run) as two:
        assert one.session.feeds
        assert not two.session.feeds
        await one.type(b"typed\n")
        expected = "".join(f"{number}\n" for number in range(1, 200_001)).encode()
        readers = (one.output(), two.output(), one.output("stderr"), two.output("stderr"))
        outputs = tuple(await asyncio.gather(*readers))
        assert outputs == (expected, expected, b"typed\n", b"typed\n")
        assert await one.code() == 0
    exited = await run.event("exited")
    assert exited["code"] == 4
    assert len(run.output().splitlines()) == 200_002


async def test_a_listener_that_leaves_does_not_hold_up_the_container(run: Bench) -> None:
    await started(run, ["/bin/sh", "-c", "read line; seq 1 100000; echo done"], stdin=True, log_max_bytes=64 << 20)
    async with attached(run, stdin=True) as opened:
        await opened.type(b"go\n")
        await opened.until(b"1\n")
    await run.event("exited")
    assert run.output().endswith("done")


@pytest.mark.parametrize("once", [True, False])
async def test_input_ends_with_the_first_who_gives_it_only_if_it_is_taken_once(run: Bench, once: bool) -> None:
    await started(
        run, ["/bin/sh", "-c", "while read line; do echo got $line; done; echo end"], stdin=True, stdin_once=once
    )
    async with attached(run, stdin=True) as opened:
        await opened.type(b"one\n")
        await opened.until(b"got one\n")
    if once:
        await run.event("exited")
        assert run.output().endswith("end")
        return
    async with attached(run, stdin=True) as opened:
        await opened.type(b"two\n")
        assert await opened.until(b"got two\n") == b"got two\n"


async def test_input_that_is_taken_once_can_end_before_its_giver_leaves(run: Bench) -> None:
    await started(run, ["/bin/sh", "-c", "wc -c; echo end >&2"], stdin=True, stdin_once=True)
    async with attached(run, stdin=True) as opened:
        await opened.type(b"12345")
        opened.stdio.end_input()
        opened.session.end_input()
        assert (await opened.output()).strip() == b"5"
        assert await opened.output("stderr") == b"end\n"


async def test_a_container_can_have_a_terminal(run: Bench) -> None:
    script = "read line; echo $line; trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
    await started(run, ["/bin/bash", "-c", script], stdin=True, tty=True, env={"PATH": "/usr/bin:/bin"})
    async with attached(run, stdin=True) as opened:
        terminal = opened.stdio.stdin
        assert terminal is not None
        opened.stdio.terminal, opened.stdio.stdin = terminal, Descriptor(os.dup(terminal.fd))
        opened.stdio.resize(80, 24)
        await opened.type(b"hello\n")
        assert b"hello\r\n24 80\r\n" in await opened.until(b"24 80\r\n")
        opened.stdio.resize(90, 30)
        await opened.until(b"30 90\r\n")
    assert (await run.link.exec("main", ["/bin/true"], 5)).code == 0


async def test_without_input_a_container_reads_the_end_at_once(run: Bench) -> None:
    await started(run, ["/bin/sh", "-c", "read line || echo nothing"])
    await run.event("exited")
    assert run.output() == "nothing"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a pod a user of its own")
@pytest.mark.parametrize("tty", [True, False], ids=["terminal", "pipes"])
async def test_a_command_is_its_containers_user_and_can_open_its_own_streams(run: Bench, tty: bool) -> None:
    await started(run, uid=54_321, gid=54_321, cwd="/", env={"PATH": "/usr/bin:/bin"})
    script = "id -u; echo out >/dev/stdout; echo err >/dev/stderr"
    async with command(run, "sh", "-c", script, tty=tty) as opened:
        said = await opened.output()
        said += b"" if tty else await opened.output("stderr")
        assert said.split() == [b"54321", b"out", b"err"]
        assert await opened.code() == 0
