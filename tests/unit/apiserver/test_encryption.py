"""What keeps Secrets from who reads the store: the sealed form, the file with the keys, and what a start refuses."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from stark.apiserver.encryption import envelope
from stark.apiserver.encryption.configuration import (
    BadConfiguration,
    Configuration,
    Key,
    Rule,
    new_key,
    parse_configuration,
    read_configuration,
    render_configuration,
    write_configuration,
)
from stark.apiserver.encryption.envelope import Undecipherable, is_sealed
from stark.apiserver.encryption.keyfile import KeyFile
from stark.apiserver.encryption.keyring import Keyring
from stark.apiserver.encryption.opening import open_encrypted
from stark.apiserver.encryption.reencryption import outermost, reencrypt, take_census
from stark.apiserver.encryption.store import EncryptingStore
from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import Expect, Put, Revision
from tests.support.stores import put

PLACE = b"/registry/core/secrets/default/a"
ELSEWHERE = b"/registry/core/configmaps/default/a"
VALUE = b'{"data":{"password":"aHVudGVyMg=="}}'
OLD, NEW = Key("old", b"o" * 32), Key("new", b"n" * 32)


def ring_of(*keys: Key, writes_clear: bool = False) -> Keyring:
    return Keyring(Configuration((Rule(("secrets",), keys, writes_clear),)))


# The sealed form


def test_a_sealed_value_opens_at_its_place_and_shows_nothing() -> None:
    ring = ring_of(OLD)
    sealed = ring.seal(PLACE, VALUE)
    assert is_sealed(sealed)
    assert b"hunter" not in sealed
    assert VALUE not in sealed
    assert ring_of(OLD).open(PLACE, sealed) == VALUE
    assert ring.seal(PLACE, VALUE) != sealed


def test_a_value_that_was_moved_to_another_key_does_not_open() -> None:
    ring = ring_of(OLD)
    sealed = ring.seal(PLACE, VALUE)
    with pytest.raises(Undecipherable, match="changed or moved"):
        ring.open(PLACE + b"2", sealed)


@pytest.mark.parametrize("part", ["key name", "wrapped key", "nonce", "ciphertext", "tag", "end"])
def test_a_changed_value_does_not_open(part: str) -> None:
    ring = ring_of(OLD)
    sealed = ring.seal(PLACE, VALUE)
    start = len(envelope.MAGIC)
    wrapped = start + len("old:")
    nonce = wrapped + envelope.WRAPPED_BYTES
    at = {
        "key name": start,
        "wrapped key": wrapped + 20,
        "nonce": nonce,
        "ciphertext": nonce + envelope.NONCE_BYTES,
        "tag": len(sealed) - 1,
        "end": len(sealed),
    }[part]
    changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] if at < len(sealed) else sealed + b"x"
    with pytest.raises(Undecipherable):
        ring_of(OLD).open(PLACE, changed)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        pytest.param((NEW,), "the key 'old', which is not configured", id="a missing key"),
        pytest.param((Key("old", b"x" * 32),), "another key named 'old'", id="another key of that name"),
    ],
)
def test_without_its_key_a_value_does_not_open_and_the_message_says_which(keys: tuple[Key, ...], why: str) -> None:
    with pytest.raises(Undecipherable, match=why):
        ring_of(*keys).open(PLACE, ring_of(OLD).seal(PLACE, VALUE))


def test_a_cut_value_is_told_from_a_whole_one() -> None:
    with pytest.raises(Undecipherable, match="is not whole"):
        ring_of(OLD).open(PLACE, ring_of(OLD).seal(PLACE, VALUE)[:60])


def test_a_data_key_seals_a_bounded_number_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "VALUES_PER_DATA_KEY", 3)
    ring = ring_of(OLD)
    headers = [envelope.parse(PLACE, ring.seal(PLACE, VALUE)).header for _ in range(7)]
    assert sorted(Counter(headers).values()) == [1, 3, 3]


def test_values_in_clear_are_read_and_the_first_provider_says_how_to_write() -> None:
    assert ring_of(OLD).open(PLACE, VALUE) == VALUE
    clear = ring_of(OLD, writes_clear=True)
    assert clear.seal(PLACE, VALUE) == VALUE
    assert clear.open(PLACE, ring_of(OLD).seal(PLACE, VALUE)) == VALUE


def test_the_second_key_opens_and_the_first_one_seals() -> None:
    sealed, ring = ring_of(OLD).seal(PLACE, VALUE), ring_of(NEW, OLD)
    assert ring.open(PLACE, sealed) == VALUE
    assert not ring.is_current(PLACE, sealed)
    assert ring.is_current(PLACE, ring.seal(PLACE, VALUE))


def test_a_key_that_another_server_began_with_is_looked_for_in_the_file(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.yaml")
    write_configuration(file.path, Configuration((Rule(("secrets",), (OLD,)),)))
    ring = Keyring(file.read(), file.newer)
    sealed = ring_of(NEW).seal(PLACE, VALUE)
    with pytest.raises(Undecipherable):
        ring.open(PLACE, sealed)
    write_configuration(file.path, Configuration((Rule(("secrets",), (OLD, NEW)),)))
    assert ring.open(PLACE, sealed) == VALUE


# The file


GOOD = """
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, tokens.example.org]
  providers:
  - aesgcm: {keys: [{name: a, secret: %s}, {name: b, secret: %s}]}
  - identity: {}
- resources: ['*.*']
  providers: [identity: {}, aesgcm: {keys: [{name: a, secret: %s}]}]
""" % ((base64.b64encode(b"s" * 32).decode(),) * 3)


def test_a_file_in_kubernetes_form_is_understood() -> None:
    first, second = parse_configuration(GOOD.encode()).rules
    assert [key.name for key in first.keys] == ["a", "b"]
    assert first.writing == first.keys[0]
    assert (second.writing, second.resources) == (None, ("*.*",))
    assert parse_configuration(render_configuration(Configuration((first, second)))).rules == (first, second)


@pytest.mark.parametrize(
    ("place", "key"),
    [
        (b"/registry/core/secrets/n/a", "a"),
        (b"/credentials/users/a", "a"),
        (b"/registry/example.org/tokens/n/a", "a"),
        (b"/registry/core/secretsandmore/n/a", None),
        (b"/registry/core/configmaps/n/a", None),
    ],
)
def test_the_first_rule_that_covers_a_place_holds(place: bytes, key: str | None) -> None:
    writing = Keyring(parse_configuration(GOOD.encode())).writing(place)
    assert (writing.name if writing else None) == key


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("kind: EncryptionConfiguration", "kind: Other"), "must be a EncryptionConfiguration"),
        (("aesgcm", "aescbc"), "'aescbc' is not served"),
        (("name: b", "name: a"), "two keys have the same name"),
        (("name: a", "name: 'a:b'"), r"keys\[0\].name: must be"),
        ((GOOD.split("secret: ")[1][:44], "c2hvcnQ="), r"secret: must be 32 bytes in base64, and is 5"),
        ((GOOD.split("secret: ")[1][:44], "'topsecret!'"), "secret: must be base64"),
        (("resources: [secrets, tokens.example.org]", "resources: []"), r"resources\[0\].resources: must name"),
        (("- resources: [", "- resources: [}"), "is not YAML in line"),
    ],
)
def test_a_bad_file_is_refused_by_field_and_shows_no_secret(change: tuple[str, str], why: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(GOOD.replace(*change))
    path.chmod(0o600)
    with pytest.raises(BadConfiguration, match=why) as refusal:
        read_configuration(path)
    assert str(path) in str(refusal.value)
    assert "topsecret" not in str(refusal.value)
    assert "c3Nzc3" not in str(refusal.value)
    assert "c3Nzc3" not in repr(parse_configuration(GOOD.encode()))


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(GOOD)
    path.chmod(0o640)
    with pytest.raises(BadConfiguration, match=f"chmod 600 {path}"):
        read_configuration(path)


# The store


async def test_what_has_no_rule_passes_by_untouched() -> None:
    beneath = MemoryStore()
    store = EncryptingStore(beneath, ring_of(OLD))
    await put(store, ELSEWHERE, VALUE)
    await put(store, PLACE, VALUE)
    prefix = b"/registry/core/configmaps/"
    assert (await store.range(prefix, prefix + b"\xff")).items[0] is (await beneath.range(ELSEWHERE, b"")).items[0]
    stored = (await beneath.get(PLACE))[0]
    assert stored is not None
    assert is_sealed(stored.value)
    failed = await store.txn([Expect(PLACE, Revision(99))], [Put(ELSEWHERE, b"x")])
    assert [kv.value for kv in failed.current if kv] == [VALUE]


class Killed(Exception):
    """The process ended here."""


class KilledAt(Counter[str]):
    """Ends it when so many values were rewritten."""

    def __init__(self, end: int) -> None:
        super().__init__()
        self.end = end

    def __setitem__(self, key: str, value: int) -> None:
        super().__setitem__(key, value)
        if value >= self.end:
            raise Killed


async def test_the_next_start_goes_on_with_what_was_interrupted() -> None:
    beneath, ring = MemoryStore(), ring_of(NEW, OLD)
    before, store = EncryptingStore(beneath, ring_of(OLD)), EncryptingStore(beneath, ring)
    for n in range(450):
        await put(before, PLACE + b"%d" % n, b"%d" % n)
    await put(beneath, PLACE + b"in clear", VALUE)
    with pytest.raises(Killed):
        await reencrypt(store, KilledAt(100))
    assert (await take_census(beneath, ring)).outdated > 300
    rewritten: Counter[str] = Counter()
    await reencrypt(store, rewritten)
    assert rewritten == {"new": 351}
    census = await take_census(beneath, ring, opens=True)
    assert (census.by_key, census.clear, census.outdated) == ({"new": 451}, 0, 0)
    assert {kv.value for kv in (await store.range(PLACE, b"")).items} == {VALUE, *(b"%d" % n for n in range(450))}


async def test_whoever_writes_meanwhile_loses_nothing_and_leases_stay() -> None:
    beneath = MemoryStore()
    store = EncryptingStore(beneath, ring_of(OLD))
    lease = await store.grant(60)
    for n in range(200):
        await store.txn((), [Put(PLACE + b"%03d" % n, b"0", lease)])
    store.ring.use(Configuration((Rule(("secrets",), (NEW, OLD)),)))

    async def count_up(key: bytes) -> None:
        for _ in range(20):
            kv = (await store.get(key))[0]
            assert kv is not None
            await store.txn([Expect(key, kv.mod_revision)], [Put(key, b"%d" % (int(kv.value) + 1), lease)])

    rewritten: Counter[str] = Counter()
    keys = [PLACE + b"%03d" % n for n in range(0, 200, 7)]
    await asyncio.gather(reencrypt(store, rewritten), *map(count_up, keys))
    await reencrypt(store, rewritten)
    found = {kv.key: kv for kv in (await store.range(PLACE, b"")).items}
    assert len(found) == 200
    assert {kv.lease for kv in found.values()} == {lease}
    assert (await take_census(beneath, store.ring)).by_key == {"new": 200}
    assert all(int(found[key].value) > 0 for key in keys)


def test_a_place_that_two_rules_cover_is_visited_once() -> None:
    assert outermost([b"/r/a/", b"/r/", b"/c/", b"/r/b/x/"]) == [b"/c/", b"/r/"]


# The start


async def test_a_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "pki" / "encryption.yaml"
    store = await open_encrypted(MemoryStore(), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert store.ring.configuration == read_configuration(path)
    assert store.ring.covers(PLACE)
    assert store.ring.covers(b"/credentials/setup")
    assert not store.ring.covers(ELSEWHERE)


@pytest.mark.parametrize("trouble", ["missing", "another", "same name", "given but missing"])
async def test_a_start_without_the_keys_of_its_store_is_refused_in_one_sentence(trouble: str, tmp_path: Path) -> None:
    path, beneath = tmp_path / "encryption.yaml", MemoryStore()
    store = await open_encrypted(beneath, path)
    await put(store, PLACE, VALUE)
    key = store.ring.configuration.rules[0].keys[0]
    path.unlink()
    if trouble == "another":
        await open_encrypted(MemoryStore(), path)
    elif trouble == "same name":
        write_configuration(path, Configuration((Rule(("secrets",), (replace(key, secret=b"x" * 32),)),)))
    with pytest.raises((Undecipherable, BadConfiguration)) as refusal:
        await open_encrypted(beneath, path, is_given=trouble == "given but missing")
    said = str(refusal.value)
    assert str(path) in said
    assert "\n" not in said
    assert ("put" in said and "back" in said) or "name the file" in said
    assert trouble not in ("missing", "given but missing") or not path.exists()


def test_two_new_keys_have_two_names() -> None:
    assert new_key().name != new_key().name
