"""The agent's hands on one pod: its supervisor, and the orders that the machine gave, carried out in their order.

News from the supervisor goes straight to the machine. Nothing is decided here, with one exception: what a dead
supervisor left behind is killed at once, whoever wanted it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial

from stark.crds.podcontainers import container_named
from stark.crds.pods import Container, Pod

from .endings import last_words
from .launch import Launch, NotReady, Workshop
from .logs import tail_text
from .machine import (
    Called,
    Exit,
    Exited,
    Hooked,
    Prepare,
    Prepared,
    PrepareFailed,
    Probed,
    ProbeNow,
    Released,
    Remembered,
    RunHook,
    Start,
    Started,
    Stimulus,
    Stop,
    SupervisorLost,
)
from .probes import Prober
from .strays import kill_strays
from .supervisor.link import ExecResult, ShimLink, SupervisorError, View, read_state, start_supervisor

log = logging.getLogger(__name__)

ORDERS_MAX = 1_000  # waiting for one pod; the machine gives a handful, so more is a mistake of ours
END_TIMEOUT_S = 10.0  # an idle supervisor ends in milliseconds; one that does not is killed
START_FAILED = 128
NANO = 1_000_000_000

Post = Callable[[Stimulus], None]
Order = Callable[[], Awaitable[None]]


class PodHands:
    """One pod's processes. `post` takes the news; `run` carries out orders until cancelled."""

    def __init__(self, uid: str, workshop: Workshop, post: Post) -> None:
        self.uid = uid
        self._workshop = workshop
        self._post = post
        self._link: ShimLink | None = None
        self._lost = asyncio.Event()
        self._over = asyncio.Event()
        self._ending = False
        self._orders: asyncio.Queue[Order] = asyncio.Queue(ORDERS_MAX)
        self._launches: dict[str, tuple[int, Launch]] = {}
        self._handed: dict[str, int] = {}
        """Attempt by container: what the present supervisor was told to start."""
        self._dead: dict[str, int] | None = None
        """The same of a supervisor that died and is not buried yet."""
        self.pod: Pod | None = None
        self.pids: dict[str, int] = {}
        """First process of each container that runs: its others descend from it."""
        self.released = False

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry out orders until the pod is released."""
        try:
            while not self.released:
                order = await self._orders.get()
                await order()
        finally:
            self._over.set()
            if self._link is not None:
                await self._link.close()

    async def adopt(self) -> tuple[Remembered, ...]:
        """Take over what an earlier agent started; call before `run`. A dead supervisor's remains are killed.

        There is no await after the connection: news that comes on it is posted after what the caller posts at once.
        """
        folder = self._workshop.records.folder(self.uid)
        views = {view["name"]: (view, previous) for view, previous in read_state(folder)}
        link = ShimLink(self._hear, self._supervisor_lost)
        try:
            for view in await link.connect(folder):
                known = views.get(view["name"])
                views[view["name"]] = (view, known[1] if known else None)
            self._link = link
            running = {name: view for name, (view, _) in views.items() if view["state"] == "running"}
            self._handed = {name: view["attempt"] for name, view in running.items()}
            self.pids = {name: view["pid"] for name, view in running.items()}
        except SupervisorError:
            await self._clear_remains()
        note = self._workshop.records.note(self.uid)
        self._workshop.ports.remember(self.uid, note.ports)
        return tuple(self._remember(view, previous) for view, previous in views.values())

    @property
    def connected(self) -> bool:
        """Whether the pod's supervisor is there."""
        return self._link is not None

    # -- orders ---------------------------------------------------------------------------------------------------

    async def prepare(self, order: Prepare, running: frozenset[str]) -> None:
        """Make the next run ready and say so. Runs beside the other orders, because a download may take long."""
        assert self.pod is not None, self.uid
        pod = self.pod
        container = self._container(order.container)
        try:
            launch = await self._workshop.build(pod, container, order.attempt, running)
        except NotReady as error:
            self._post(PrepareFailed(self.uid, order.container, order.ticket, error.reason, error.message))
            return
        except Exception as error:
            # One pod that nobody thought of must not take the node's other pods' agent away.
            log.exception("container cannot be prepared", extra={"podId": self.uid, "container": order.container})
            self._post(PrepareFailed(self.uid, order.container, order.ticket, "CreateContainerError", repr(error)))
            return
        if self.released:  # the pod went while its bundle was on the way: what was built for it goes too
            await self._discard()
            return
        self._launches[order.container] = (order.ticket, launch)
        self._post(Prepared(self.uid, order.container, order.ticket, launch.image_id, launch.note))

    def start(self, order: Start) -> None:
        """Start what was prepared."""
        self._order(lambda: self._start(order))

    def stop(self, order: Stop) -> None:
        """Stop one container."""
        self._order(lambda: self._stop(order))

    def retire(self) -> None:
        """End the supervisor and give the limits' groups back; records and logs stay."""
        self._order(self._retire)

    def release(self) -> None:
        """Remove everything."""
        self._order(self._release)

    async def settled(self) -> None:
        """Return when every order given so far has been carried out."""
        marks = [asyncio.ensure_future(self._over.wait())]
        if not self._over.is_set():
            done = asyncio.Event()

            async def mark() -> None:
                done.set()

            self._order(mark)
            marks.append(asyncio.ensure_future(done.wait()))
        await asyncio.wait(marks, return_when=asyncio.FIRST_COMPLETED)
        for waiting in marks:
            waiting.cancel()

    async def exec(self, container: str, argv: list[str], timeout_s: float) -> ExecResult:
        """A command beside a container. Raises SupervisorError."""
        if self._link is None:
            raise SupervisorError("the container is not running")
        return await self._link.exec(container, argv, timeout_s)

    async def probe(self, order: ProbeNow, prober: Prober) -> None:
        """Probe once and say what came of it."""
        container, ports = self._container(order.container), self._workshop.ports.ports(self.uid)
        ok, message = await prober.run(order.probe, container, ports, partial(self.exec, order.container))
        self._post(Probed(self.uid, order.container, order.attempt, order.kind, ok, message))

    async def hook(self, order: RunHook, prober: Prober) -> None:
        """Carry out a hook and say whether it succeeded."""
        container, ports = self._container(order.container), self._workshop.ports.ports(self.uid)
        command = partial(self.exec, order.container)
        ok, message = await prober.carry_out(order.handler, container, ports, command, order.timeout_s)
        if not ok:
            facts = {"podId": self.uid, "container": order.container, "hook": order.kind, "error": message}
            log.warning("hook failed", extra=facts)
        self._post(Hooked(self.uid, order.container, order.attempt, order.kind, ok))

    def _container(self, name: str) -> Container:
        assert self.pod is not None, self.uid
        found = container_named(self.pod.spec, name)
        assert found is not None, (self.uid, name)
        return found

    def _order(self, order: Order) -> None:
        self._orders.put_nowait(order)

    async def _start(self, order: Start) -> None:
        ticket, launch = self._launches.pop(order.container)
        assert ticket == order.ticket, (ticket, order)
        launch.spec["attempt"] = order.attempt
        try:
            await self._ensure_supervisor()
            assert self._link is not None, self.uid
            self._handed[order.container] = order.attempt
            self._link.start(launch.spec)
        except (SupervisorError, OSError) as error:
            self._start_failed(order.container, order.attempt, str(error))

    async def _stop(self, order: Stop) -> None:
        try:
            if self._link is not None:
                self._link.stop(order.container, order.grace_s, order.reason)
        except SupervisorError:
            pass  # its loss is reported on its own, and is as good as a stop

    async def _ensure_supervisor(self) -> None:
        if self._link is not None:
            return
        await self._bury()
        folder = self._workshop.records.folder(self.uid)
        self._ending, self._lost = False, asyncio.Event()
        await start_supervisor(folder)
        link = ShimLink(self._hear, self._supervisor_lost)
        await link.connect(folder)
        self._link = link

    async def _end_supervisor(self) -> None:
        if self._link is None:
            return
        self._ending = True
        try:
            self._link.shut_down()
            await asyncio.wait_for(self._lost.wait(), END_TIMEOUT_S)
        except SupervisorError:
            pass
        except TimeoutError:
            log.warning("supervisor did not end and is killed", extra={"podId": self.uid, "pid": self._link.pid})
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._link.pid, signal.SIGKILL)
        if self._link is not None:
            await self._link.close()
            self._link = None

    async def _retire(self) -> None:
        await self._end_supervisor()
        await self._clear_remains()
        await asyncio.to_thread(self._workshop.volumes.clear, self.uid)

    async def _release(self) -> None:
        await self._end_supervisor()
        self.released = True
        await self._discard()
        self._post(Released(self.uid))

    async def _discard(self) -> None:
        await self._clear_remains()
        await asyncio.to_thread(self._workshop.volumes.clear, self.uid)
        await asyncio.to_thread(self._workshop.records.remove, self.uid)
        self._workshop.forget(self.uid)

    async def _clear_remains(self) -> None:
        await asyncio.to_thread(self._workshop.cgroups.remove, self.uid)
        if not self._workshop.cgroups.version:  # otherwise nothing is left, and strangers' memory need not be read
            await asyncio.to_thread(kill_strays, self.uid)

    # -- news -----------------------------------------------------------------------------------------------------

    def _hear(self, view: View) -> None:
        name, attempt = view.get("name", ""), view.get("attempt", 0)
        match view["ev"]:
            case "started":
                self.pids[name] = view["pid"]
                self._post(Started(self.uid, name, attempt, view["started"] / NANO, view["execution"]))
                if view["called"]:
                    self._post(Called(self.uid, name, attempt, view["called"] / NANO))
            case "called":
                self._post(Called(self.uid, name, attempt, view["called"] / NANO))
            case "exited":
                self.pids.pop(name, None)
                self._post(Exited(self.uid, name, attempt, self._exit(view)))
            case "unsaved":
                log.error("supervisor cannot write its state", extra={"podId": self.uid, "error": view["message"]})
            case "refused":
                if self._link is not None:
                    self._link.stop(name, 0.0, "Refused")  # a run that the machine does not know of must not go on
                still = "the supervisor still runs another process of this container"
                self._start_failed(name, attempt, view.get("message", still))

    def _start_failed(self, container: str, attempt: int, message: str) -> None:
        now = time.time()
        self._post(Exited(self.uid, container, attempt, Exit(START_FAILED, 0, "InitError", message, now, now)))

    def _supervisor_lost(self) -> None:
        self._lost.set()
        if self._ending:
            return
        self._link = None
        self.pids.clear()
        self._dead, self._handed = self._handed, {}
        log.warning("supervisor was lost", extra={"podId": self.uid})
        self._order(self._bury)

    async def _bury(self) -> None:
        """A supervisor died by itself: kill what may be left of it, then tell what it could not."""
        if self._dead is None:
            return
        runs, self._dead = tuple(self._dead.items()), None
        await self._clear_remains()
        for view, _ in read_state(self._workshop.records.folder(self.uid)):
            if view["state"] == "exited":
                self._post(Exited(self.uid, view["name"], view["attempt"], self._exit(view)))
        self._post(SupervisorLost(self.uid, runs))

    def _exit(self, view: View) -> Exit:
        code, number = view["code"], view["signal"]
        reason = view["reason"]
        message = self._workshop.endings.said(self.uid, view["name"], view["attempt"]) or view["message"]
        if code != 0 and self.pod is not None and not (reason and message):
            meta = self.pod.metadata
            folder = self._workshop.shelf.folder(meta.namespace or "", meta.name, self.uid, view["name"])
            tail = tail_text(folder, view["attempt"])
            runtime = self._workshop.runtime(view["tag"].get("runtime", ""))
            if runtime is not None and not reason:
                reason = runtime.explain(code, number, tail)
            message = message or last_words(container_named(self.pod.spec, view["name"]), tail)
        # A pack's own words: halves of characters, which JSON can say, are nothing that can be written.
        message = message.encode(errors="replace").decode()
        return Exit(
            code, number, reason, message, view["started"] / NANO, view["exited"] / NANO, execution=view["execution"]
        )

    def _remember(self, view: View, previous: View | None) -> Remembered:
        tag = view["tag"]
        if "sha256" in tag:
            self._workshop.bundles.hold(self.uid, tag["sha256"])
        return Remembered(
            name=view["name"],
            attempt=view["attempt"],
            image=tag.get("image", ""),
            image_id=tag.get("imageID", ""),
            execution=view["execution"],
            started_at=view["started"] / NANO,
            called_at=view["called"] / NANO if view["called"] else None,
            exit=self._exit(view) if view["state"] == "exited" else None,
            previous=self._exit(previous) if previous is not None and previous["state"] == "exited" else None,
        )
