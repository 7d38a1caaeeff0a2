"""What a try to log in costs whoever tries."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import Counter

from stark.apiserver.errors import ServiceUnavailable, TooManyRequests
from stark.apiserver.facade.guessing import Guessing, OwnTries, tries
from stark.apiserver.settings import RateSettings

ADA, HERE = "ada@example.com", "192.0.2.1"


def guessing() -> Guessing:
    limited = Counter("limited", "Refused.", ("limit",), registry=None)
    settings = RateSettings(login_failures=3, login_failures_address=5)
    return Guessing(OwnTries(tries(settings, clock=lambda: 0.0)), limited)


@pytest.mark.parametrize(
    ("error", "is_free"),
    [
        pytest.param(ServiceUnavailable("the store is away"), True, id="we could not judge it"),
        pytest.param(asyncio.CancelledError(), False, id="its sender hung up while the password was hashed"),
    ],
)
async def test_a_try_that_was_not_judged_is_free_only_when_that_is_our_fault(
    error: BaseException, is_free: bool
) -> None:
    ours = guessing()
    for _ in range(3):
        with pytest.raises(type(error)):
            async with ours.attempt(ADA, HERE):
                raise error
    if is_free:
        async with ours.attempt(ADA, HERE) as attempt:
            attempt.judge(good=False)
        return
    with pytest.raises(TooManyRequests):
        async with ours.attempt(ADA, HERE):
            pass


async def test_a_good_password_gives_the_account_all_its_tries_back_and_the_address_one() -> None:
    ours = guessing()
    for good in (False, False, True, False, False, False):
        async with ours.attempt(ADA, HERE) as attempt:
            attempt.judge(good=good)
    with pytest.raises(TooManyRequests):
        async with ours.attempt("bob@example.com", HERE):
            pass
