"""The module contract as a bundle sees it from inside: the universal conformance bundle under each JavaScript runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stark.agent.runtimes import Program, runtime_for
from stark.agent.runtimes.node import NodeRuntime
from tests.support.agents import until
from tests.support.conformance import BUNDLE, CHECKS_AT_LEAST, checks, failures, said
from tests.support.runs import Bench, bench, program

TAGS = ["node", "universal"]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "pod") as made:
        yield made


def begin(run: Bench, *args: str, tag: str = "node", entrypoint: str = "default") -> Program:
    """Start the bundle as a pack of this runtime tag."""
    runtime = runtime_for(tag, {"node": (NodeRuntime(), "20")})
    assert runtime is not None, tag
    what = program(BUNDLE, args=list(args), entrypoint=entrypoint, runtime_tag=tag)
    env = {"STARK_POD_ID": what.pod_uid, "STARK_PACK_ID": what.pack_id, "STARK_PACK_VERSION": what.pack_version}
    run.start(runtime, what, env=env)
    return what


async def waiting(run: Bench) -> None:
    await until("the bundle waits", lambda: run.log().exists() and "waiting" in run.log().read_text())


@pytest.mark.parametrize("tag", TAGS)
async def test_every_check_of_the_contract_holds(tag: str, run: Bench) -> None:
    begin(run, tag=tag)
    ended = await run.event("exited")
    assert failures(run.output()) == []
    assert checks(run.output()) >= CHECKS_AT_LEAST
    assert (ended["code"], ended["reason"]) == (0, "")


async def test_arguments_are_those_of_the_call_and_of_the_scope(run: Bench) -> None:
    begin(run, "other", "two words", "")
    assert (await run.event("exited"))["code"] == 0, failures(run.output())


async def test_handlers_are_called_newest_first_each_after_the_one_before_and_decide_the_end(run: Bench) -> None:
    begin(run, "shutdown")
    await waiting(run)
    run.link.stop("main", 10.0, "Deleted")
    ended = await run.event("exited")
    assert failures(run.output()) == []
    assert checks(run.output()) == 8
    assert (ended["code"], ended["signal"]) == (0, 0)


async def test_a_handler_that_fails_makes_the_end_a_failure_and_the_others_are_still_called(run: Bench) -> None:
    begin(run, "shutdown-fails")
    await waiting(run)
    run.link.stop("main", 10.0, "Deleted")
    ended = await run.event("exited")
    assert failures(run.output()) == []
    assert checks(run.output()) == 8
    assert (ended["code"], ended["signal"]) == (1, 0)
    assert "told to fail" in run.output(stream="stderr")


async def test_a_handler_that_never_ends_is_ended_with_the_grace(run: Bench) -> None:
    begin(run, "stubborn")
    await waiting(run)
    run.link.stop("main", 0.3, "Deleted")
    assert (await run.event("exited"))["signal"] == 9


@pytest.mark.parametrize("how", ["reject", "throw"])
async def test_a_failure_is_told_with_its_message_whether_at_once_or_later(how: str, run: Bench) -> None:
    begin(run, how)
    ended = await run.event("exited")
    assert (ended["code"], ended["reason"]) == (1, "Error")
    assert ended["message"].startswith("Error: told to fail")
    assert ended["called"] > 0


async def test_an_entry_point_is_found_by_its_name(run: Bench) -> None:
    begin(run, entrypoint="named")
    assert (await run.event("exited"))["code"] == 0
    assert said(run.output())[-1] == {"passed": 1, "failed": 0}


async def test_what_the_console_is_told_goes_to_the_log_by_its_stream(run: Bench) -> None:
    begin(run, "streams")
    await run.event("exited")
    plain = ["by log", "by info", "by debug", "text 7 { key: [ 'value' ] }"]
    assert run.output(stream="stdout").splitlines() == plain
    assert run.output(stream="stderr").splitlines() == ["by warn", "by error"]
