"""Moving a registry: everything arrives as it was at one moment, and nothing is mixed or half copied unnoticed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from stark.apiserver.__main__ import main
from stark.apiserver.encryption.configuration import FILE_NAME
from stark.apiserver.encryption.envelope import is_sealed
from stark.apiserver.encryption.opening import open_encrypted
from stark.apiserver.store.etcd import open_etcd
from stark.apiserver.store.migrate import ROOTS, MigrationRefused, migrate
from stark.apiserver.store.protocol import Put, Store, prefix_end
from stark.apiserver.store.sqlite import open_sqlite
from tests.support.etcd import shared_etcd
from tests.support.stores import create, delete, etcd_settings, open_store, put

PROGRAM = (sys.executable, "-m", "stark.apiserver", "migrate")


@pytest.mark.parametrize(
    ("origin", "destination"), [("sqlite", "etcd"), ("etcd", "sqlite"), ("memory", "sqlite"), ("memory", "etcd")]
)
async def test_everything_is_copied_as_it_was(origin: str, destination: str, tmp_path: Path) -> None:
    async with (
        open_store(origin, tmp_path / "from") as source,
        open_store(destination, tmp_path / "to") as target,
    ):
        values = {b"/registry/%04d" % n: bytes([n % 256]) * (n % 1000) for n in range(1_200)}
        values |= {b"/registry/large-%d" % n: b"x" * 1_400_000 for n in range(3)}
        values |= {b"/credentials/passwords/a": b"hashed"}
        await asyncio.gather(*(put(source.store, key, value) for key, value in values.items()))
        await put(source.store, b"/elsewhere")
        await put(source.store, b"/registry/gone")
        await delete(source.store, b"/registry/gone")
        copied = await migrate(source.store, target.store)
        assert (copied.keys, copied.value_bytes) == (len(values), sum(map(len, values.values())))
        found = (await target.store.range(b"", b"")).items
        assert {kv.key: kv.value for kv in found} == values


async def test_a_lease_is_copied_with_its_time(tmp_path: Path) -> None:
    async with open_store("sqlite", tmp_path / "from") as source, open_store("memory", tmp_path / "to") as target:
        leases = [await source.store.grant(1), await source.store.grant(60)]
        for key, lease in ((b"/registry/a", leases[0]), (b"/registry/b", leases[1]), (b"/registry/c", leases[1])):
            await source.store.txn((), (Put(key, b"v", lease),))
        copied = await migrate(source.store, target.store)
        assert (copied.keys, copied.expired) == (3, 0)
        held = {kv.key: kv.lease for kv in (await target.store.range(b"", b"")).items}
        assert held[b"/registry/b"] == held[b"/registry/c"] != held[b"/registry/a"]
        await asyncio.sleep(1.5)
        assert [kv.key for kv in (await target.store.range(b"", b"")).items] == [b"/registry/b", b"/registry/c"]


async def test_a_target_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with open_store("memory", tmp_path / "from") as source, open_store("memory", tmp_path / "to") as target:
        await put(source.store, b"/registry/a", b"new")
        await put(target.store, b"/registry/b", b"old")
        with pytest.raises(MigrationRefused, match="already holds 1 keys"):
            await migrate(source.store, target.store)
        assert [kv.key for kv in (await target.store.range(b"", b"")).items] == [b"/registry/b"]


async def test_the_program_copies_there_and_back(tmp_path: Path) -> None:
    async with open_store("etcd", tmp_path) as etcd:
        assert not (await etcd.store.range(ROOTS[1], prefix_end(ROOTS[1]))).items
        source = await open_sqlite(tmp_path / "one" / "store")
        for n in range(10):
            await create(source, b"/registry/%d" % n, b"value")
        await source.close()
        place = f"etcd={shared_etcd().url}"
        there = await asyncio.to_thread(run, f"sqlite={tmp_path / 'one'}", place)
        assert there == (0, "copied 10 objects, 50 bytes, of revision 11\n")
        again = await asyncio.to_thread(run, f"sqlite={tmp_path / 'one'}", place)
        assert again[0] == 1
        assert "already holds 10 keys" in again[1]
        back = await asyncio.to_thread(run, place, f"sqlite={tmp_path / 'two'}")
        assert back[0] == 0
        copy = await open_sqlite(tmp_path / "two" / "store")
        assert len((await copy.range(ROOTS[1], prefix_end(ROOTS[1]))).items) == 10
        await copy.close()


@pytest.mark.parametrize(
    ("source", "target", "code", "why"),
    [
        pytest.param("sqlite=/none", "sqlite=/tmp/never", 1, "/none/store does not exist", id="a missing source"),
        pytest.param("memory", "sqlite=/tmp/never", 2, "'memory' is no store", id="no place"),
        pytest.param("sqlite=/a", "sqlite=/a", 2, "are the same", id="the same place"),
        pytest.param("etcd=ftp://a", "sqlite=/tmp/never", 1, "cannot be understood", id="no URL"),
    ],
)
def test_the_program_says_what_is_wrong(source: str, target: str, code: int, why: str) -> None:
    found, said = run(source, target)
    assert found == code
    assert why in said
    assert "Traceback" not in said
    assert not Path("/tmp/never").exists()


def run(source: str, target: str) -> tuple[int, str]:
    """The program's exit code and what it said."""
    command = [*PROGRAM, "--from", source, "--to", target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


SECRET = b"/registry/core/secrets/default/a"


@pytest.mark.parametrize(
    ("destination", "is_sealed_before"),
    [
        pytest.param("sqlite", True, id="to another data directory with its own keys"),
        pytest.param("sqlite", False, id="from a store that never was encrypted"),
        pytest.param("etcd", True, id="to an etcd with the same keys"),
    ],
)
async def test_secrets_are_sealed_wherever_they_are_copied_to(
    destination: str, is_sealed_before: bool, tmp_path: Path
) -> None:
    beneath: Store = await open_sqlite(tmp_path / "one" / "store")
    one = tmp_path / "one" / "pki" / FILE_NAME
    source = await open_encrypted(beneath, one) if is_sealed_before else beneath
    await create(source, SECRET, b"planted")
    await create(source, b"/registry/core/configmaps/default/a", b"plain")
    await source.close()
    place = f"etcd={shared_etcd().url}" if destination == "etcd" else f"sqlite={tmp_path / 'two'}"
    keys = one if destination == "etcd" else tmp_path / "two" / "pki" / FILE_NAME
    async with open_store(destination, tmp_path / "two" / "unused"):
        assert await asyncio.to_thread(migration, f"sqlite={tmp_path / 'one'}", place) == 0
        target = await (
            open_etcd(etcd_settings(shared_etcd().url))
            if destination == "etcd"
            else open_sqlite(tmp_path / "two/store")
        )
        stored = (await target.get(SECRET))[0]
        assert stored is not None
        assert is_sealed(stored.value)
        opened = (await (await open_encrypted(target, keys)).get(SECRET))[0]
        assert opened is not None
        assert opened.value == b"planted"
        await target.close()


async def test_a_copy_without_the_keys_of_the_source_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = await open_encrypted(await open_sqlite(tmp_path / "one" / "store"), tmp_path / "one" / "pki" / FILE_NAME)
    await create(source, SECRET, b"planted")
    await source.close()
    (tmp_path / "one" / "pki" / FILE_NAME).unlink()
    code = await asyncio.to_thread(migration, f"sqlite={tmp_path / 'one'}", f"sqlite={tmp_path / 'two'}")
    assert code == 1
    assert "is missing, and /registry/core/secrets/default/a was encrypted" in capsys.readouterr().err


def migration(source: str, target: str) -> int:
    """The program, in this process."""
    return main(["migrate", "--from", source, "--to", target])
