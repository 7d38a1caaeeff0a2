"""What the supervisor can do for an agent that is not root: user namespaces, or else Landlock."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stark.agent.supervisor as supervisor
from stark.agent.isolation import Home, Means, Wishes, confine
from stark.agent.isolation.probing import DOORS, hidden_paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root can be somebody else; others cannot")
NOBODY = 65_534
PYTHON = "/usr/bin/python3"
BOOT = "import sys;sys.path.insert(0,sys.argv[1]);from supervisor.trial import main;main(*sys.argv[2:])"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of nobody's, with the supervisor's program beside it, and a secret of the same user's."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        root = Path(made)
        root.chmod(0o755)
        shutil.copytree(Path(supervisor.__file__).parent, root / "code/supervisor")
        for name in ("agent", "pod"):
            (root / name).mkdir()
            os.chown(root / name, NOBODY, NOBODY)
        (root / "agent/secret").write_text("secret")
        os.chown(root / "agent/secret", NOBODY, NOBODY)
        yield root


def why_not(folder: Path, kind: str, means: Means, script: str, **wishes: Any) -> str:
    """Why a shell script does not end well in the class; empty when it does."""
    home = Home([folder / "pod"], folder / "pod", [], "trial")
    plan = confine(kind, means, None, home, Wishes(**wishes))
    spec = {"argv": ["/bin/sh", "-ec", script], "env": {"PATH": "/usr/bin:/bin"}, "cwd": "/", **plan}
    done = subprocess.run(
        [PYTHON, "-I", "-S", "-B", "-c", BOOT, str(folder / "code"), str(folder / "pod"), json.dumps(spec)],
        user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["why"])


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder that is no pod's, where pods of a root agent see it."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as made:
        Path(made).chmod(0o755)
        yield Path(made)


NO = 'no() { if "$@" >/dev/null 2>&1; then exit 9; fi; }; '
"""A shell's function: the command must fail."""


def sealed(folder: Path) -> str:
    return f"{NO} no cat {folder}/agent/secret; echo mine > {folder}/pod/file; test -r /etc/hostname"


def test_a_user_namespace_hides_what_is_the_agent_s_own(folder: Path) -> None:
    means = Means(base=("user", "pid"), hidden=(str(folder / "agent"),), views=True)
    assert why_not(folder, "process", means, f"{sealed(folder)}; test $(id -u) = {NOBODY}") == ""
    assert (folder / "pod/file").stat().st_uid == NOBODY


def test_a_program_may_see_itself_as_another_user(folder: Path) -> None:
    means = Means(base=("user", "pid"), views=True)
    script = (
        f"{NO} test $(id -u):$(id -g) = 0:7; grep -q 'CapEff:.0000000000000000' /proc/self/status; no touch /etc/no"
    )
    assert why_not(folder, "process", means, script, run_as_user=0, run_as_group=7) == ""


def test_strict_works_without_root(folder: Path) -> None:
    means = Means(base=("user", "pid"), views=True)
    script = f"{NO} test ! -e /home -a ! -e /etc/passwd; test $(ls /proc | grep -c '^[0-9]') -le 6; no unshare -r true"
    assert why_not(folder, "strict", means, script, filtered=True) == ""


def test_landlock_closes_what_cannot_be_hidden(folder: Path) -> None:
    means = Means(landlock=True, hidden=(str(folder / "agent"),))
    outside = subprocess.Popen(["/bin/sleep", "60"], user=NOBODY, group=NOBODY, extra_groups=[])
    try:
        script = (
            f"{sealed(folder)}; no kill {outside.pid}; no cat /proc/{outside.pid}/environ; no touch {folder}/agent/x"
        )
        assert why_not(folder, "process", means, script) == ""
        read_only = f"{NO} no touch /var/tmp/stark-test; no touch {folder}/pod/x; echo > /dev/null"
        assert why_not(folder, "process", means, read_only, read_only_root=True) == ""
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()


TRIES = """import ctypes, os, resource, socket, sys
own, others, agent = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def connect(address):
    with socket.socket(socket.AF_UNIX) as one: one.connect(address)
def common():
    if libc.shmget(0x57A12, 0, 0) < 0: raise OSError(ctypes.get_errno(), "shmget")
reached = []
for name, attempt in {
    "socket": lambda: connect(others + "/doors/door.sock"),
    "abstract socket": lambda: connect("\\0stark-test-door"),
    "limits": lambda: resource.prlimit(int(agent), resource.RLIMIT_CPU, (1, 1)),
    "writing": lambda: open(others + "/program", "a").close(),
    "memory": lambda: open("/dev/shm/stark-test-shared").close(),
    "segment": common,
    "another's standing": lambda: open(f"/proc/{agent}/oom_score_adj", "w").write("1000"),
}.items():
    try: attempt()
    except OSError: continue
    reached.append(name)
open(own + "/reached", "w").write(", ".join(reached))
"""


@pytest.mark.parametrize(
    "means",
    [
        pytest.param({"base": ("user", "pid"), "views": True}, id="user namespaces"),
        pytest.param({"landlock": True}, id="Landlock"),
    ],
)
def test_the_agent_s_own_user_opens_no_door(folder: Path, theirs: Path, means: dict[str, Any]) -> None:
    doors = theirs / "doors"
    doors.mkdir()
    (theirs / "program").touch()
    for path in (theirs, doors, theirs / "program"):
        os.chown(path, NOBODY, NOBODY)
    script = f"""import ctypes, os, socket, time
listening = [socket.socket(socket.AF_UNIX) for _ in range(2)]
for one, address in zip(listening, ({str(doors / "door.sock")!r}, "\\0stark-test-door")):
    one.bind(address)
    one.listen()
open("/dev/shm/stark-test-shared", "w").close()
held = ctypes.CDLL(None).shmget(0x57A12, 4096, 0o1600)
try:
    print("ready", flush=True)
    input()
finally:
    ctypes.CDLL(None).shmctl(held, 0, None)
    os.unlink("/dev/shm/stark-test-shared")
"""
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    agent = subprocess.Popen([PYTHON, "-I", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **who)
    try:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"ready\n"
        command = shlex.join([PYTHON, "-I", "-c", TRIES, str(folder / "pod"), str(theirs), str(agent.pid)])
        assert why_not(folder, "process", Means(hidden=(str(doors),), **means), command) == ""
        reached = (folder / "pod/reached").read_text()
    finally:
        agent.communicate(b"\n", timeout=10)
    assert reached == ""


def test_doors_are_hidden_from_those_who_share_our_user() -> None:
    hidden = hidden_paths(Path("/var/tmp"), map(Path, DOORS), homes=[])
    assert "/run" in hidden


@pytest.mark.parametrize(
    "means",
    [
        pytest.param({"base": ("user", "pid"), "views": True}, id="user namespaces"),
        pytest.param({"landlock": True}, id="Landlock"),
    ],
)
def test_of_the_folder_of_doors_the_resolver_s_is_seen(folder: Path, means: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir="/run") as made:
        shown, other = Path(made) / "resolve", Path(made) / "bus"
        for path in (Path(made), shown, other):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
            (path / "file").write_text(path.name)
        script = f"{NO} test $(cat {shown}/file) = resolve; no cat {other}/file; no touch {shown}/file; no touch /run/x"
        mounts = []
        if means.get("views"):
            mounts = [{"source": str(folder / "pod"), "target": "/var/run/secrets/stark-test", "read_only": False}]
            script += "; echo mine > /var/run/secrets/stark-test/mine"
        given = Means(hidden=("/home", "/root", "/run"), shown=(shown,), **means)
        assert why_not(folder, "process", given, script, mounts=mounts) == ""
