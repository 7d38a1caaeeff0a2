"""Passwords, and how often somebody may try."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from stark.apiserver.auth import buckets
from stark.apiserver.auth.buckets import Buckets, Rate, network_of
from stark.apiserver.auth.passwords import Passwords, problems
from stark.apiserver.errors import TooManyRequests
from stark.apiserver.settings import PasswordSettings

CHEAP = PasswordSettings(memory_kib=64, passes=1, waiting_max=1)


@pytest.mark.parametrize(
    ("password", "lacks"),
    [
        pytest.param("Correct1horse", 0, id="all there"),
        pytest.param("Short1a", 1, id="too short"),
        pytest.param("lower1case", 1, id="no upper case"),
        pytest.param("UPPER1CASE", 1, id="no lower case"),
        pytest.param("No-digits-here", 1, id="no digit"),
        pytest.param("", 4, id="nothing"),
        pytest.param("Aa1" + "x" * 1_022, 1, id="too long"),
        pytest.param("Ünïcødé1", 0, id="letters of any script"),
    ],
)
def test_a_password_must_be_long_and_mixed(password: str, lacks: int) -> None:
    assert len(problems(password)) == lacks


async def test_a_hash_is_argon2id_and_knows_its_password_however_it_was_typed() -> None:
    passwords = Passwords(CHEAP, CollectorRegistry())
    hashed = await passwords.hash("Cafe\u0301-au-lait-1")
    assert hashed.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert hashed != await passwords.hash("Cafe\u0301-au-lait-1"), "each has a salt of its own"
    assert await passwords.matches("Caf\u00e9-au-lait-1", hashed)
    assert not await passwords.matches("Caf\u00e9-au-lait-2", hashed)
    assert not await passwords.matches("Caf\u00e9-au-lait-1", None)
    assert not await passwords.matches("Caf\u00e9-au-lait-1", "not a hash")
    stronger = Passwords(PasswordSettings(memory_kib=128, passes=1), CollectorRegistry())
    assert stronger.is_outdated(hashed)
    assert await stronger.matches("Caf\u00e9-au-lait-1", hashed)
    for each in (passwords, stronger):
        each.close()


def test_the_defaults_cost_no_less_than_owasp_asks_for() -> None:
    settings = PasswordSettings()
    assert settings.memory_kib >= 19 * 1024
    assert settings.passes >= 2


async def test_only_so_many_wait_to_be_hashed() -> None:
    passwords = Passwords(CHEAP, CollectorRegistry())
    outcomes = await asyncio.gather(*(passwords.hash("Aa1aaaaa") for _ in range(20)), return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, TooManyRequests)]
    assert len(refused) == 20 - CHEAP.hashes_at_once - CHEAP.waiting_max
    assert all(each.retry_after_s for each in refused)
    passwords.close()


def test_a_bucket_gives_its_burst_and_then_what_time_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    limit = Buckets(Rate(burst=3, per_s=0.5), clock=lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 2]
    assert limit.take("b") == 0, "another key has its own"
    now[0] = 1.0
    assert limit.take("a") == 1
    now[0] = 2.0
    assert limit.take("a") == 0
    limit.give_back("a")
    assert limit.take("a") == 0
    limit.fill("a")
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 2]
    now[0] = 1_000.0
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 2], "never more than the burst"
    monkeypatch.setattr(buckets, "BUCKETS_MAX", 2)
    limit.take("c")
    limit.take("d")
    assert len(limit) == 2, "what was not heard of for the longest time is forgotten"


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9:4711", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.7]:4711", "192.0.2.7"),
        ("unix", "unix"),
    ],
)
def test_an_allowance_is_that_of_an_address_or_an_ipv6_network(peer: str, network: str) -> None:
    assert network_of(peer) == network
