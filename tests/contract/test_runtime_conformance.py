"""The module contract as a bundle sees it from inside: the conformance bundles under each runtime that has a harness.

JavaScript's is universal: the browser runtime runs the same bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stark.agent.runtimes import Program, Runtime, runtime_for
from stark.agent.runtimes.node import NodeRuntime
from stark.agent.runtimes.python import PythonRuntime
from tests.support.agents import until
from tests.support.conformance import BUNDLE, PYTHON_BUNDLE, checks, failures, said
from tests.support.runs import Bench, bench, program

WHILE_STOPPING = {"node": 8, "python": 7}
"""Checks of a run that is stopped: a Python handler is told no reason."""
AT_LEAST = {"node": 40, "python": 20}
"""Checks of a plain run; fewer means that the bundle left early."""


FAILS_LATE = {
    "node": """module.exports.default = (context) => new Promise((_, fail) => {
        context.onShutdown(async () => { await new Promise((done) => setTimeout(done, 50)); console.log('handled'); });
        context.onShutdown(() => fail(new Error('too late')));
        console.log('waiting');
    });""",
    "python": """import asyncio
async def default(context):
    stop = asyncio.Event()
    @context.on_shutdown
    async def handled():
        await asyncio.sleep(0.05)
        print('handled')
    @context.on_shutdown
    async def asked():
        stop.set()
    print('waiting')
    await stop.wait()
    raise RuntimeError('too late')
""",
}


@dataclass
class Case:
    """A runtime and its bundle."""

    tag: str
    runtime: Runtime
    bundle: Path

    @property
    def language(self) -> str:
        return self.runtime.tag


@pytest.fixture(params=["node", "python"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return made(request.param, tmp_path)


def made(what: str, tmp_path: Path) -> Case:
    """`node`, `universal`, `python` or `python zipapp`."""
    tag = what.split()[0]
    runtime = runtime_for(tag, {"node": (NodeRuntime(), "20"), "python": (PythonRuntime(), "3")})
    assert runtime is not None, tag
    bundle = BUNDLE if runtime.tag == "node" else PYTHON_BUNDLE
    if "zipapp" in what:
        bundle = tmp_path / "bundle"
        with zipfile.ZipFile(bundle, "w") as archive:
            archive.write(PYTHON_BUNDLE, "__main__.py")
    return Case(tag, runtime, bundle)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "pod") as made:
        yield made


def begin(run: Bench, case: Case, *args: str, entrypoint: str = "default") -> Program:
    """Start the bundle."""
    what = program(case.bundle, args=list(args), entrypoint=entrypoint, runtime_tag=case.tag)
    env = {"STARK_POD_ID": what.pod_uid, "STARK_PACK_ID": what.pack_id, "STARK_PACK_VERSION": what.pack_version}
    run.start(case.runtime, what, env=env)
    return what


async def waiting(run: Bench) -> None:
    await until("the bundle waits", lambda: run.log().exists() and "waiting" in run.log().read_text())


@pytest.mark.parametrize("what", ["node", "universal", "python", "python zipapp"])
async def test_every_check_of_the_contract_holds(what: str, run: Bench, tmp_path: Path) -> None:
    case = made(what, tmp_path)
    begin(run, case)
    ended = await run.event("exited")
    assert failures(run.output()) == []
    assert checks(run.output()) >= AT_LEAST[case.language]
    assert (ended["code"], ended["reason"]) == (0, "")


async def test_arguments_are_those_of_the_call_and_of_the_scope(case: Case, run: Bench) -> None:
    begin(run, case, "other", "two words", "")
    assert (await run.event("exited"))["code"] == 0, failures(run.output())


async def test_handlers_are_called_newest_first_each_after_the_one_before_and_decide_the_end(
    case: Case, run: Bench
) -> None:
    begin(run, case, "shutdown")
    await waiting(run)
    run.link.stop("main", 10.0, "Deleted")
    ended = await run.event("exited")
    assert failures(run.output()) == []
    assert checks(run.output()) == WHILE_STOPPING[case.language]
    assert (ended["code"], ended["signal"]) == (0, 0)


async def test_a_handler_that_fails_makes_the_end_a_failure_and_the_others_are_still_called(
    case: Case, run: Bench
) -> None:
    begin(run, case, "shutdown-fails")
    await waiting(run)
    run.link.stop("main", 10.0, "Deleted")
    ended = await run.event("exited")
    assert failures(run.output()) == []
    assert checks(run.output()) == WHILE_STOPPING[case.language]
    assert (ended["code"], ended["signal"]) == (1, 0)
    assert "told to fail" in run.output(stream="stderr")


@pytest.mark.parametrize("tag", ["node", "python"])
async def test_an_entry_point_that_fails_while_it_is_stopped_waits_for_its_handlers_and_fails_the_end(
    tag: str, run: Bench, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_text(FAILS_LATE[tag])
    begin(run, Case(tag, NodeRuntime() if tag == "node" else PythonRuntime(), bundle))
    await waiting(run)
    run.link.stop("main", 10.0, "Deleted")
    ended = await run.event("exited")
    assert (ended["code"], ended["reason"]) == (1, "Error")
    assert "too late" in ended["message"]
    assert run.output().splitlines()[-1] == "handled"


async def test_a_handler_that_never_ends_is_ended_with_the_grace(case: Case, run: Bench) -> None:
    begin(run, case, "stubborn")
    await waiting(run)
    run.link.stop("main", 0.3, "Deleted")
    assert (await run.event("exited"))["signal"] == 9


@pytest.mark.parametrize("how", ["reject", "throw"])
async def test_a_failure_is_told_with_its_message_whether_at_once_or_later(how: str, case: Case, run: Bench) -> None:
    begin(run, case, how)
    ended = await run.event("exited")
    assert (ended["code"], ended["reason"]) == (1, "Error")
    assert "Error: told to fail" in ended["message"]
    assert ended["called"] > 0


async def test_an_entry_point_is_found_by_its_name(case: Case, run: Bench) -> None:
    begin(run, case, entrypoint="named")
    assert (await run.event("exited"))["code"] == 0
    assert said(run.output())[-1] == {"passed": 1, "failed": 0}


async def test_what_the_console_is_told_goes_to_the_log_by_its_stream(run: Bench) -> None:
    begin(run, Case("node", NodeRuntime(), BUNDLE), "streams")
    await run.event("exited")
    plain = ["by log", "by info", "by debug", "text 7 { key: [ 'value' ] }"]
    assert run.output(stream="stdout").splitlines() == plain
    assert run.output(stream="stderr").splitlines() == ["by warn", "by error"]
