"""Runs one Python pack inside a child process, and keeps the same contract as the Node.js harness.

A bundle is one source file or a zip with `__main__.py` or `main.py`. When that module defines, at its top level, a
function named as the entry point, or `default`, or a `main` that takes an argument, the module is imported and the
function called with (context, *args), awaited when it is a coroutine; its end is the container's end. Any other
bundle is a plain script and runs as `__main__`. Descriptor 3 is a socket to the supervisor, JSON lines both ways.

Runs under `python -I`, on whatever Python 3.9+ the node offers: standard library only.
"""

import ast
import asyncio
import inspect
import json
import os
import runpy
import signal
import sys
import threading
import time
import traceback
import types
import zipfile
from typing import Any, Callable, Dict, List, Optional  # noqa: UP035 - packs may run on Python 3.9

EXIT_LOAD_FAILED = 65
EXIT_DEADLINE = 124
EXIT_OUT_OF_MEMORY = 137
EXIT_TERMINATED = 143
CONTROL_FD = 3
MESSAGE_MAX = 4000


def tell(message: Dict[str, Any]) -> None:  # noqa: UP006
    """One message to the supervisor."""
    try:
        os.write(CONTROL_FD, json.dumps(message).encode() + b"\n")
    except OSError:
        pass  # the supervisor is gone, and so shall we be in a moment


def leave(code: int) -> None:
    """End the process from any thread, with its output written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)


def report(reason: str, error: BaseException) -> None:
    """Say why the end is a failure."""
    traceback.print_exception(type(error), error, error.__traceback__)
    tell({"type": "failed", "reason": reason, "message": f"{type(error).__name__}: {error}"[:MESSAGE_MAX]})


def fail(reason: str, error: BaseException, code: int) -> None:
    """Report and end."""
    if isinstance(error, MemoryError):
        reason, code = "OOMKilled", EXIT_OUT_OF_MEMORY
    report(reason, error)
    leave(code)


class Lifecycle:
    """How far the container is; read by the pack."""

    def __init__(self) -> None:
        self.phase = "initializing"
        self.is_shutting_down = False
        self.shutdown_reason: Optional[str] = None  # noqa: UP045
        self.shutdown_requested_at: Optional[float] = None  # noqa: UP045
        self._stops_at = 0.0

    @property
    def graceful_shutdown_remaining_ms(self) -> Optional[int]:  # noqa: UP045
        """Milliseconds until the kill; None before a shutdown was requested."""
        return max(0, int((self._stops_at - time.time()) * 1000)) if self.is_shutting_down else None

    def begin(self, reason: str, grace_ms: int) -> None:
        """A shutdown was requested."""
        self.phase, self.is_shutting_down, self.shutdown_reason = "stopping", True, reason
        self.shutdown_requested_at = time.time()
        self._stops_at = self.shutdown_requested_at + grace_ms / 1000


class Context:
    """What the entry point is given: the fields of the contract as attributes, in snake_case."""

    def __init__(self, fields: Dict[str, Any]) -> None:  # noqa: UP006
        self.execution_id = fields["executionId"]
        self.pod_id = fields["podId"]
        self.pack_id = fields["packId"]
        self.pack_name = fields["packName"]
        self.pack_version = fields["packVersion"]
        self.runtime_tag = fields["runtimeTag"]
        self.timeout = fields.get("timeout")
        self.metadata = fields["metadata"]
        self.env = dict(os.environ)
        self.lifecycle = Lifecycle()
        self.handlers: List[Callable[..., Any]] = []  # noqa: UP006

    def on_shutdown(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call `handler()` (or await it) when the container is asked to stop. Usable as a decorator."""
        if not callable(handler):
            raise TypeError("on_shutdown needs a function")
        self.handlers.append(handler)
        return handler


class Harness:
    """One pack, from load to end."""

    def __init__(self, settings: Dict[str, Any]) -> None:  # noqa: UP006
        self.bundle: str = settings["bundle"]
        self.entrypoint: str = settings["entrypoint"]
        self.args: List[str] = settings["args"]  # noqa: UP006
        self.context = Context(settings["context"])
        self.loop: Optional[asyncio.AbstractEventLoop] = None  # noqa: UP045
        self.task: Optional[asyncio.Task[Any]] = None  # noqa: UP045
        self.is_script = False
        self.has_failed = False

    def run(self) -> None:
        """Load, call, and end the process."""
        entry = None
        try:
            entry = self.load()
        except BaseException as error:
            fail("PackLoadError", error, EXIT_LOAD_FAILED)
        threading.Thread(target=self.listen, name="stark-control", daemon=True).start()
        self.context.lifecycle.phase = "running"
        if entry is None:
            return self.run_script()
        try:
            self.call(entry)
        except SystemExit:
            raise
        except asyncio.CancelledError:
            leave(0 if self.context.lifecycle.is_shutting_down else 1)
        except BaseException as error:
            self.end_badly(error)
        if not self.handlers_decide:
            self.context.lifecycle.phase = "terminated"
        return self.wait_for_handlers()

    def load(self) -> Optional[Callable[..., Any]]:  # noqa: UP045
        """The entry point; None for a plain script."""
        name, source = self.read()
        sys.argv = [name, *self.args]
        wanted = entry_names(ast.parse(source, name), self.entrypoint)
        if not wanted:
            self.is_script = True
            return None
        module = types.ModuleType("stark_pack")
        module.__file__ = name
        sys.modules["stark_pack"] = module
        exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 - running the pack is the whole purpose
        for candidate in wanted:
            entry = getattr(module, candidate, None)
            if callable(entry):
                return entry  # type: ignore[no-any-return]
        raise TypeError(f"the bundle has no function '{self.entrypoint}' and no function 'default'")

    def read(self) -> "tuple[str, str]":
        """File name and source of the main module; a zip goes on the import path."""
        if zipfile.is_zipfile(self.bundle):
            sys.path.insert(0, self.bundle)
            with zipfile.ZipFile(self.bundle) as archive:
                names = set(archive.namelist())
                main = "__main__.py" if "__main__.py" in names else "main.py"
                if main not in names:
                    raise ImportError("the bundle has neither __main__.py nor main.py")
                return f"{self.bundle}/{main}", archive.read(main).decode()
        with open(self.bundle, encoding="utf-8") as file:
            return self.bundle, file.read()

    def run_script(self) -> None:
        """Run the bundle as a program of its own; SIGTERM means what it means to any program."""
        tell({"type": "called"})
        try:
            if zipfile.is_zipfile(self.bundle) and "__main__.py" not in zipfile.ZipFile(self.bundle).namelist():
                runpy.run_module("main", run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(self.bundle, run_name="__main__")
        except SystemExit:
            raise
        except BaseException as error:
            fail("Error", error, 1)

    def call(self, entry: Callable[..., Any]) -> None:
        """Call the entry point and wait for its end."""
        tell({"type": "called"})  # before the call: an entry point may keep the thread to itself
        if inspect.iscoroutinefunction(entry):
            return asyncio.run(self.supervise(entry))
        result = entry(self.context, *self.args)
        if inspect.isawaitable(result):
            asyncio.run(self.finish(result))
        return None

    async def supervise(self, entry: Callable[..., Any]) -> None:
        """Run a coroutine entry point so that a shutdown can cancel it."""
        coroutine = entry(self.context, *self.args)
        await self.carry(coroutine)

    async def finish(self, awaitable: Any) -> None:
        """Await what a plain function returned."""
        await self.carry(awaitable)

    async def carry(self, awaitable: Any) -> None:
        """Await the entry point, and keep its loop for handlers that run on it when it ends before them."""
        self.loop, self.task = asyncio.get_running_loop(), asyncio.ensure_future(awaitable)
        try:
            await self.task
        except Exception as error:
            self.end_badly(error)
        if self.handlers_decide:
            await asyncio.Event().wait()  # the last handler ends the process

    def listen(self) -> None:
        """Hear the supervisor, on a thread of its own."""
        rest = b""
        while True:
            data = os.read(CONTROL_FD, 65536)
            if not data:
                leave(EXIT_TERMINATED)  # the supervisor died: nobody owns us any more
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message.get("type") == "shutdown" and not self.context.lifecycle.is_shutting_down:
                    self.shut_down(message["reason"], message["graceMs"])

    def shut_down(self, reason: str, grace_ms: int) -> None:
        """Call the handlers, newest first, and end; without handlers, cancel the coroutine or act as on SIGTERM."""
        self.context.lifecycle.begin(reason, grace_ms)
        if not self.context.handlers:
            if self.task is not None and self.loop is not None:
                self.loop.call_soon_threadsafe(self.task.cancel)
            else:
                os.kill(os.getpid(), signal.SIGTERM)
            return
        code = 0
        for handler in reversed(self.context.handlers):
            try:
                self.call_handler(handler)
            except BaseException:
                traceback.print_exc()
                code = 1
        self.context.lifecycle.phase = "terminated"
        leave(EXIT_DEADLINE if reason == "DeadlineExceeded" else 1 if self.has_failed else code)

    def call_handler(self, handler: Callable[..., Any]) -> None:
        """Call one handler; a coroutine runs on the pack's own loop when there is one."""
        result = handler()
        if not inspect.isawaitable(result):
            return
        if self.loop is not None and self.loop.is_running():
            asyncio.run_coroutine_threadsafe(awaited(result), self.loop).result()
        else:
            asyncio.run(awaited(result))

    @property
    def handlers_decide(self) -> bool:
        """Whether the entry point ends because of a shutdown: then its handlers decide when the process does."""
        return self.context.lifecycle.is_shutting_down and bool(self.context.handlers)

    def end_badly(self, error: BaseException) -> None:
        """The entry point failed: the process does, at once or after the handlers."""
        if not self.handlers_decide:
            fail("Error", error, 1)
        self.has_failed = True
        report("Error", error)

    def wait_for_handlers(self) -> None:
        """The last handler ends the process."""
        while self.handlers_decide:
            time.sleep(0.05)


async def awaited(awaitable: Any) -> Any:
    """Any awaitable as a coroutine."""
    return await awaitable


def entry_names(tree: ast.Module, entrypoint: str) -> List[str]:  # noqa: UP006
    """Which of the module's top-level functions may be the entry point, best first; empty for a plain script."""
    names: Dict[str, bool] = {}  # noqa: UP006
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names[node.name] = bool(node.args.posonlyargs or node.args.args or node.args.vararg)
        elif isinstance(node, ast.Assign):
            names.update({target.id: True for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: True for alias in node.names})
    wanted = [name for name in (entrypoint, "default") if name in names]
    # `if __name__ == "__main__"` says that the author meant a script, whose main() often takes an optional argv.
    if names.get("main") and "main" not in wanted and not any(map(asks_for_main, tree.body)):
        wanted.append("main")
    return wanted


def asks_for_main(node: ast.stmt) -> bool:
    """Whether the statement is `if __name__ == ...`."""
    test = node.test if isinstance(node, ast.If) else None
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


if __name__ == "__main__":
    Harness(json.loads(os.environ.pop("STARK_HARNESS"))).run()
