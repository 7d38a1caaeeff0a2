"""What the supervisor can do for an agent that is not root: user namespaces, or else Landlock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stark.agent.supervisor as supervisor
from stark.agent.isolation import Home, Means, Wishes, confine

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
