"""Trees that pods have written, with whatever they think of."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from stark.agent.endings import MESSAGE_MAX, Endings
from stark.agent.records import PodRecords
from stark.agent.trees import BEYOND_ALL, DEPTH_MAX, remove_tree, usage_bytes


def nested(top: Path, depth: int, name: str = "d") -> int:
    """Folders in folders; a descriptor of the innermost."""
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def write(fd: int, name: str, size: int) -> None:
    with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=fd), "wb") as file:
        file.write(b"x" * size)
    os.close(fd)


def test_what_lies_deeper_than_a_path_can_say_is_counted(tmp_path: Path) -> None:
    write(nested(tmp_path / "top", 30, "n" * 250), "big", 1 << 20)
    assert 1 << 20 <= usage_bytes(tmp_path / "top") < 2 << 20
    remove_tree(tmp_path / "top")
    assert not (tmp_path / "top").exists()


def test_a_tree_too_deep_to_be_measured_is_beyond_every_limit_and_removed_all_the_same(tmp_path: Path) -> None:
    write(nested(tmp_path / "top", 3_000), "hidden", 1)
    assert usage_bytes(tmp_path / "top") == BEYOND_ALL
    remove_tree(tmp_path / "top")
    assert not (tmp_path / "top").exists()
    os.close(nested(tmp_path / "fair", DEPTH_MAX - 1))
    assert usage_bytes(tmp_path / "fair") < BEYOND_ALL


def test_links_are_neither_followed_nor_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "other/sub").mkdir(parents=True)
    (tmp_path / "other/kept").write_bytes(b"x" * (1 << 20))
    os.close(nested(tmp_path / "top", 3))
    for name in ("a", "d/b"):
        (tmp_path / "top" / name).symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "top/d/fifo")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    assert usage_bytes(tmp_path / "top") < 1 << 20
    assert usage_bytes(tmp_path / "link") == 0
    remove_tree(tmp_path / "top")
    remove_tree(tmp_path / "link")
    assert not (tmp_path / "top").exists()
    assert (tmp_path / "other/kept").exists()
    remove_tree(tmp_path / "never")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a change of user")
def test_a_folder_that_its_owner_has_closed_is_removed() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o777)
        top = Path(folder) / "top"
        if (pid := os.fork()) == 0:
            os.setuid(65_534)
            (top / "closed/sub").mkdir(parents=True)
            (top / "closed").chmod(0)
            remove_tree(top)
            os._exit(int(top.exists()))
        assert os.waitpid(pid, 0)[1] == 0


def test_a_message_that_fills_the_disk_counts_and_is_shortened(tmp_path: Path) -> None:
    records = PodRecords(tmp_path)
    endings = Endings(records)
    endings.make("uid", "main", 0).write_bytes(b"x" * (1 << 20) + b"the end")
    assert endings.usage_bytes("uid", "main") >= 1 << 20
    assert endings.usage_bytes("uid", "other") == 0
    endings.shorten("uid")
    assert endings.usage_bytes("uid", "main") <= 2 * MESSAGE_MAX
    assert endings.said("uid", "main", 0).endswith("xthe end")
    records.close()
