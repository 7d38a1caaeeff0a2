"""What every runtime promises (agent/runtimes/base.py), held against each of them with real children."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from stark.agent.runtimes import Program, Runtime, detect
from stark.agent.runtimes.binary import BinaryRuntime
from stark.agent.runtimes.node import NodeRuntime
from stark.agent.runtimes.python import PythonRuntime
from tests.support.agents import until
from tests.support.runs import Bench, bench, program

LOAD_FAILED = 65

NODE_SOURCES = {
    "finishes": "module.exports.default = async () => { console.log('done'); };",
    "fails": "module.exports.default = async () => { throw new Error('boom'); };",
    "unloadable": "this is not a program",
    "waits": """module.exports.default = async (context) => {
        console.log('waiting');
        await new Promise((stop) => context.onShutdown((reason) => { console.log('asked', reason); stop(); }));
    };""",
    "deaf": "module.exports.default = () => { console.log('deaf'); for (;;); };",
    "tells": """module.exports.default = (context, ...args) => {
        console.log(JSON.stringify({ args, env: process.env }));
    };""",
    "noisy": "module.exports.default = () => { console.log('to out'); console.error('to err'); process.exit(3); };",
}
PYTHON_SOURCES = {
    "finishes": "async def default(context):\n    print('done')\n",
    "fails": "def default(context):\n    raise RuntimeError('boom')\n",
    "unloadable": "this is not a program",
    "waits": """import asyncio
async def default(context):
    stop = asyncio.Event()
    @context.on_shutdown
    async def asked():
        print('asked', context.lifecycle.shutdown_reason)
        stop.set()
    print('waiting')
    await stop.wait()
""",
    "deaf": """import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def default(context):
    print('deaf')
    while True: pass
""",
    "tells": """import json, os
def default(context, *args):
    print(json.dumps({'args': args, 'env': dict(os.environ)}))
""",
    "noisy": """import sys
def default(context):
    print('to out')
    print('to err', file=sys.stderr)
    sys.exit(3)
""",
}
TELL = "import json, os, sys; print(json.dumps(dict(args=sys.argv[1:], env=dict(os.environ))))"
SHELL_SOURCES = {
    "finishes": "#!/bin/sh\necho done\n",
    "fails": "#!/bin/sh\necho boom >&2; exit 1\n",
    "unloadable": "\0\0 neither ELF nor script",
    "waits": "#!/bin/sh\ntrap 'echo asked Stopped; exit 0' TERM\necho waiting\nwhile :; do sleep 0.05; done\n",
    "deaf": "#!/bin/sh\ntrap '' TERM\necho deaf\nwhile :; do sleep 1; done\n",
    "tells": f"#!/bin/sh\nexec {sys.executable} -I -c '{TELL}' \"$@\"\n",
    "noisy": "#!/bin/sh\necho to out; echo to err >&2; exit 3\n",
}


@dataclass
class Case:
    """One runtime and how its bundles are made."""

    runtime: Runtime
    sources: dict[str, str]
    pack: Callable[[Path, str], Path]

    def bundle(self, folder: Path, what: str) -> Path:
        return self.pack(folder, self.sources[what])


def _plain(folder: Path, source: str) -> Path:
    path = folder / "bundle"
    path.write_text(source)
    path.chmod(0o755)
    return path


def _zipped(folder: Path, source: str) -> Path:
    path = folder / "bundle"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", source)
    return path


CASES = {
    "node": lambda: Case(NodeRuntime(), NODE_SOURCES, _plain),
    "python file": lambda: Case(PythonRuntime(), PYTHON_SOURCES, _plain),
    "python zipapp": lambda: Case(PythonRuntime(), PYTHON_SOURCES, _zipped),
    "binary": lambda: Case(BinaryRuntime(), SHELL_SOURCES, _plain),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "pod") as made:
        yield made


async def test_the_end_of_the_entry_point_is_a_successful_end(case: Case, run: Bench, tmp_path: Path) -> None:
    run.start(case.runtime, program(case.bundle(tmp_path, "finishes")))
    ended = await run.event("exited")
    assert (ended["code"], ended["reason"]) == (0, "")
    assert ended["called"] >= ended["started"] > 0
    assert run.output() == "done"


async def test_a_failing_entry_point_ends_with_1(case: Case, run: Bench, tmp_path: Path) -> None:
    run.start(case.runtime, program(case.bundle(tmp_path, "fails")))
    ended = await run.event("exited")
    assert ended["code"] == 1
    assert ended["called"] > 0
    assert "boom" in run.output()


async def test_a_bundle_that_cannot_be_loaded_says_so_and_was_never_called(
    case: Case, run: Bench, tmp_path: Path
) -> None:
    run.start(case.runtime, program(case.bundle(tmp_path, "unloadable")))
    ended = await run.event("exited")
    expected = (128, "InitError") if case.runtime.tag == "binary" else (LOAD_FAILED, "PackLoadError")
    assert (ended["code"], ended["reason"]) == expected
    assert ended["message"]
    assert ended["called"] == 0


async def test_a_stop_request_reaches_the_program_which_finishes_its_work(
    case: Case, run: Bench, tmp_path: Path
) -> None:
    run.start(case.runtime, program(case.bundle(tmp_path, "waits")))
    await run.event("started")
    await _wrote(run, "waiting")
    run.link.stop("main", 10.0, "Stopped")
    ended = await run.event("exited")
    assert (ended["code"], ended["signal"]) == (0, 0)
    assert run.output().splitlines() == ["waiting", "asked Stopped"]


async def test_a_program_that_does_not_listen_is_killed_after_the_grace(case: Case, run: Bench, tmp_path: Path) -> None:
    run.start(case.runtime, program(case.bundle(tmp_path, "deaf")))
    await _wrote(run, "deaf")
    run.link.stop("main", 0.3, "Stopped")
    ended = await run.event("exited")
    assert (ended["code"], ended["signal"]) == (137, 9)


async def test_arguments_and_environment_arrive_and_nothing_of_ours_does(
    case: Case, run: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_SECRET", "hidden")
    run.start(case.runtime, program(case.bundle(tmp_path, "tells"), args=["one", "two words"]), env={"GIVEN": "a=b $x"})
    await run.event("exited")
    told = json.loads(run.output())
    assert told["args"] == ["one", "two words"]
    assert told["env"]["GIVEN"] == "a=b $x"
    assert "STARK_HARNESS" not in told["env"]
    assert "AGENT_SECRET" not in told["env"]
    assert set(told["env"]) - {"GIVEN", "STARK_EXECUTION_ID", "LC_CTYPE", "PWD", "SHLVL", "_", "OLDPWD"} == {"PATH"}


async def test_both_streams_are_kept_and_the_exit_code_is_the_programs(case: Case, run: Bench, tmp_path: Path) -> None:
    run.start(case.runtime, program(case.bundle(tmp_path, "noisy")))
    ended = await run.event("exited")
    assert ended["code"] == 3
    assert (run.output(stream="stdout"), run.output(stream="stderr")) == ("to out", "to err")


async def _wrote(run: Bench, text: str) -> None:
    await until(f"{text} in the log", lambda: run.log().exists() and text in run.log().read_text())


# -- the module contract, where there is a harness --------------------------------------------------------------------


CONTEXTS = {
    "node": """module.exports.default = (c) => console.log(JSON.stringify({
        ids: [c.executionId, c.podId, c.packId, c.packName, c.packVersion, c.runtimeTag], timeout: c.timeout,
        team: c.metadata.team, phase: c.lifecycle.phase, down: c.lifecycle.isShuttingDown, env: c.env.GIVEN }));""",
    "python": """import json
def default(c):
    print(json.dumps({
        'ids': [c.execution_id, c.pod_id, c.pack_id, c.pack_name, c.pack_version, c.runtime_tag], 'timeout': c.timeout,
        'team': c.metadata['team'], 'phase': c.lifecycle.phase, 'down': c.lifecycle.is_shutting_down,
        'env': c.env['GIVEN']}))
""",
}


@pytest.mark.parametrize("tag", ["node", "python"])
async def test_the_context_tells_the_program_who_it_is(tag: str, run: Bench, tmp_path: Path) -> None:
    runtime: Runtime = NodeRuntime() if tag == "node" else PythonRuntime()
    what = program(_plain(tmp_path, CONTEXTS[tag]), runtime_tag=tag, timeout_ms=60_000)
    run.start(runtime, what, env={"GIVEN": "x"})
    assert (await run.event("exited"))["code"] == 0, run.output()
    assert json.loads(run.output()) == {
        "ids": [what.execution, "pod-uid", "pack-id", "tried", "1.2.3", tag],
        "timeout": 60_000,
        "team": "blue",
        "phase": "running",
        "down": False,
        "env": "x",
    }


@pytest.mark.parametrize(
    ("tag", "source", "entrypoint", "output"),
    [
        pytest.param("node", "exports.serve = () => console.log('named')", "serve", "named", id="node: by name"),
        pytest.param("node", "exports.default = () => console.log('d')", "absent", "d", id="node: default otherwise"),
        pytest.param(
            "node",
            "console.log(typeof require, typeof module, typeof exports, __filename.endsWith('bundle.js'),"
            " typeof __dirname, typeof context.onShutdown, args.length); exports.default = () => {};",
            "default",
            "function object object true string function 0",
            id="node: everything is in scope while it is evaluated",
        ),
        pytest.param(
            "node",
            "const os = require('node:os'); exports.default = async () => {"
            " const fs = await import('node:fs/promises'); console.log(typeof os.cpus, typeof fs.readFile); };",
            "default",
            "function function",
            id="node: full require and dynamic import",
        ),
        pytest.param(
            "node",
            "import os from 'node:os'; export default () => console.log(typeof os.cpus);",
            "default",
            "function",
            id="node: an ECMAScript module",
        ),
        pytest.param(
            "node",
            "exports.default = () => { setTimeout(() => console.log('later'), 50); };",
            "default",
            "later",
            id="node: without a promise it lives while there is something to do",
        ),
        pytest.param(
            "node",
            "exports.default = async () => { setInterval(() => {}, 1000); console.log('settled'); };",
            "default",
            "settled",
            id="node: a settled promise ends it whatever is left to do",
        ),
        pytest.param("python", "def serve(c): print('named')", "serve", "named", id="python: by name"),
        pytest.param("python", "def main(c): print('main')", "default", "main", id="python: main with a context"),
        pytest.param(
            "python",
            "def main(argv=None): print('script')\nif __name__ == '__main__': main()",
            "default",
            "script",
            id="python: a script stays a script",
        ),
        pytest.param("python", "print(__name__)", "default", "__main__", id="python: no function at all"),
    ],
)
async def test_the_entry_point_is_found(
    run: Bench, tmp_path: Path, tag: str, source: str, entrypoint: str, output: str
) -> None:
    runtime: Runtime = NodeRuntime() if tag == "node" else PythonRuntime()
    run.start(runtime, program(_plain(tmp_path, source), entrypoint=entrypoint))
    ended = await run.event("exited")
    assert (ended["code"], run.output()) == (0, output)
    assert ended["called"] > 0


async def test_a_bundle_without_an_entry_point_names_what_it_looked_for(run: Bench, tmp_path: Path) -> None:
    run.start(NodeRuntime(), program(_plain(tmp_path, "exports.other = 1;"), entrypoint="serve"))
    ended = await run.event("exited")
    assert (ended["code"], ended["reason"]) == (LOAD_FAILED, "PackLoadError")
    assert "'serve'" in ended["message"]


@pytest.mark.parametrize("tag", ["node", "python", "binary"])
async def test_a_timeout_stops_the_program_and_is_the_reason(tag: str, run: Bench, tmp_path: Path) -> None:
    case = CASES["python file" if tag == "python" else tag]()
    run.start(case.runtime, program(case.bundle(tmp_path, "waits"), timeout_ms=700), deadline_s=0.7)
    ended = await run.event("exited")
    assert ended["reason"] == "DeadlineExceeded"
    assert ended["code"] == 124
    assert "0.7 s" in ended["message"]


@pytest.mark.parametrize("case_name", ["node", "python file"])  # a binary's reason is known from its control group only
async def test_memory_that_is_not_there_is_the_reason(case_name: str, run: Bench, tmp_path: Path) -> None:
    source = {
        "node": "exports.default = () => { const a = []; for (;;) a.push(new Array(1e5).fill({})); };",
        "python file": "def default(c):\n    a = []\n    while True: a.append(bytearray(1 << 20))\n",
    }
    case = CASES[case_name]()
    run.start(case.runtime, program(case.pack(tmp_path, source[case_name]), memory_bytes=64 << 20))
    ended = await run.event("exited")
    explained = ended["reason"] or case.runtime.explain(ended["code"], ended["signal"], run.output())
    assert explained == "OOMKilled"
    assert ended["code"] != 0


async def test_this_machine_tells_its_runtimes() -> None:
    found = await detect()
    assert set(found) == {"node", "python", "binary"}
    assert found["python"][1].startswith("3.")
    assert found["node"][1][0].isdigit()


async def test_a_missing_interpreter_is_no_runtime() -> None:
    assert await NodeRuntime("/nonexistent/node").version() is None


def test_a_program_is_plain_data() -> None:
    assert program(Path("/x")) != program(Path("/y"))
    assert isinstance(program(Path("/x")), Program)
    assert os.path.isabs(PythonRuntime().invoke(program(Path("/x"))).argv[0])


ESM_SOURCE = """import { createRequire } from 'node:module';
import { readdirSync } from 'node:fs';
const require = createRequire(import.meta.url);
export const left = 1;
export default async function (context, ...args) {
  const { basename } = await import('node:path');
  console.log(typeof require('node:os').cpus, basename('/a/b'), args.join('+'), readdirSync('.').length);
  const stopped = new Promise((stop) => context.onShutdown(async (reason) => { console.log('asked', reason); stop(); }));
  console.log('waiting', context.lifecycle.phase);
  await stopped;
}
"""


async def test_an_ecmascript_module_has_the_whole_contract_and_leaves_nothing_behind(
    run: Bench, tmp_path: Path
) -> None:
    run.start(NodeRuntime(), program(_plain(tmp_path, ESM_SOURCE), args=["a", "b"]))
    await _wrote(run, "waiting")
    run.link.stop("main", 10.0, "Deleted")
    assert (await run.event("exited"))["code"] == 0
    assert run.output().splitlines() == ["function b a+b 0", "waiting running", "asked Deleted"]


async def test_an_ecmascript_module_runs_where_its_folder_cannot_be_written(run: Bench, tmp_path: Path) -> None:
    what = program(_plain(tmp_path, "export default () => console.log('here');"))
    run.start(NodeRuntime(), what, cwd="/proc", env={"TMPDIR": str(tmp_path)})
    assert (await run.event("exited"))["code"] == 0, run.output()
    assert run.output() == "here"


async def test_a_bundle_can_require_everything_that_node_has(run: Bench, tmp_path: Path) -> None:
    source = """module.exports.default = () => {
        const failed = require('module').builtinModules.filter((name) => {
            try { require(name); return false; } catch { return !name.startsWith('trace_events'); }
        });
        console.log(JSON.stringify(failed));
    };"""
    run.start(NodeRuntime(), program(_plain(tmp_path, source)))
    assert (await run.event("exited"))["code"] == 0, run.output()
    assert json.loads(run.output(stream="stdout")) == []
