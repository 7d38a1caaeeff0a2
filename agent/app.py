"""The agent put together: stimuli into the machine, effects out to hands, reports and timers.

The pods outlive this process. What it must not do is forget: everything needed to go on is on disk before a process
is started, so killing the agent at any moment costs nothing but the time until the next one runs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.client.errors import ApiError
from stark.crds.annotations import EFFECTIVE_ISOLATION, PORTS
from stark.crds.cluster import ClusterConfigSpec
from stark.crds.podcontainers import container_named
from stark.crds.pods import Pod, PodStatus

from .accounts import AccountFiles
from .bundles import BundleStore, CacheLimits
from .cgroups import Cgroups
from .evicting import Evictor
from .fetching import Fetcher
from .hands import PodHands
from .host import address_towards, architecture, system_info
from .isolation import Means, find_means, has_users, is_within
from .joining import Credential, IdentityKeeper, IdentityShelf
from .joining.shelf import Use
from .launch import Workshop
from .logs import LogShelf
from .machine import (
    Adopted,
    Called,
    DeletePod,
    Effect,
    Emit,
    Exited,
    Machine,
    MachineSettings,
    PodSeen,
    Prepare,
    ProbeNow,
    Release,
    Retire,
    Retuned,
    RunHook,
    SetTimer,
    Shutdown,
    Start,
    Stimulus,
    Stop,
    SupervisorLost,
    Tick,
    WriteStatus,
)
from .membership import Contact, Membership, holder_of
from .noderecord import Facts, NodeRecord, node_amounts
from .ownpods import OwnPods
from .portforward import PortForwards, Target
from .probes import Prober
from .records import InUse, PodRecords
from .reports import EventRecorder, StatusWriter
from .runtimes import Runtime, detect, reachable_for_others
from .server import AgentServer, renew, tls_context
from .settings import AgentSettings
from .streams import NoContainer, NoPod, Place, RemoteStreams
from .usage import Sampler, Subject

log = logging.getLogger(__name__)

STIMULI_MAX = 100_000  # waiting for the machine, which takes thousands a second; more means it has died
FLUSH_S = 3.0  # the last statuses get this long at the end; the next agent reports them otherwise
LOCK_PAUSE_S = 0.1
CLOCK_STEP_S = 0.5  # between two looks; less is a clock that is put right little by little

PODS = Gauge("stark_agent_pods", "Pods on this node that are not yet released")
RUNNING = Gauge("stark_agent_containers_running", "Containers whose entry point was called and that have not ended")
EXITS = Counter("stark_agent_container_exits", "Containers that ended", ["outcome"])
START_SECONDS = Histogram(
    "stark_agent_pod_start_seconds",
    "From the first sight of a pod to the call of its container's entry point",
    buckets=(0.05, 0.1, 0.15, 0.3, 0.5, 1, 2, 5, 10, 30, 60),
)

DEFAULT_WAITS = MachineSettings()
"""Until the cluster's settings were read."""


def own_or(own_s: float | None, clusters_s: float) -> float:
    """The node's own setting before the cluster's."""
    return float(clusters_s) if own_s is None else own_s


class Agent:
    """One node's agent. `run` returns after `stop` was set and the policy for stopping was carried out."""

    def __init__(self, settings: AgentSettings, config: ClientConfig) -> None:
        self.settings = settings
        self._config = config
        self._shelf = IdentityShelf(settings.data_dir / "pki")
        self._serving: ssl.SSLContext | None = None
        self._node_ip = settings.address or address_towards(config.server)
        self._stimuli: asyncio.Queue[Stimulus] = asyncio.Queue(STIMULI_MAX)
        self._machine = Machine(
            MachineSettings(
                node_ip=self._node_ip,
                backoff_initial_s=own_or(settings.backoff_initial_s, DEFAULT_WAITS.backoff_initial_s),
                backoff_max_s=own_or(settings.backoff_max_s, DEFAULT_WAITS.backoff_max_s),
            )
        )
        self._waits: Retuned | None = None
        self._hands: dict[str, PodHands] = {}
        self._pods: dict[str, Pod] = {}
        self._first_seen: dict[str, float] = {}
        self._unsaved: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self._idle, self.stepped = asyncio.Event(), asyncio.Event()
        self._stopping = False
        self._ahead_s = time.time() - time.monotonic()
        """By how much the clock is ahead of one that nobody sets."""
        self.registered = asyncio.Event()
        self.port = 0

    @property
    def cgroup_version(self) -> int:
        """2 or 1, or 0 when limits are enforced without control groups; known once the agent works."""
        return self._workshop.cgroups.version

    # -- assembly -------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`. Raises InUse when another agent has the data directory."""
        self.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        async with AsyncExitStack() as stack:
            records = await self._open_records()
            stack.callback(records.close)
            self._client = await stack.enter_async_context(Client(self._config, user_agent="stark-agent"))
            self._prober = await stack.enter_async_context(Prober(self._node_ip))
            runtimes = await detect()
            cgroups = await asyncio.to_thread(Cgroups.probe)
            means = await self._find_means([runtime for runtime, _ in runtimes.values()])
            shelf = LogShelf(self.settings.data_dir / "logs")
            self._workshop = Workshop(
                self.settings,
                self._client,
                node_ip=self._node_ip,
                architecture=architecture(),
                runtimes=runtimes,
                cgroups=cgroups,
                records=records,
                bundles=BundleStore(
                    self.settings.data_dir / "bundles",
                    CacheLimits(
                        self.settings.bundle_quota_bytes,
                        self.settings.bundle_gc_high,
                        self.settings.bundle_gc_low,
                        self.settings.bundle_age_min_s,
                    ),
                    Fetcher(self._client, direct=self.settings.direct_downloads),
                ),
                shelf=shelf,
                accounts=AccountFiles(self._client, self._config, records),
                means=means,
                allocatable=node_amounts(self.settings),
            )
            system = system_info()
            self._membership = Membership(self._client, holder_of(self.settings.data_dir, system.machine_id))
            contact = Contact(self.settings.data_dir, system.boot_id)
            self._own = OwnPods(self._client, self.settings.name, self._membership, contact, self)
            self._statuses = StatusWriter(self._client, self._membership)
            self._events = EventRecorder(self._client, self.settings.name)
            self._forwards = PortForwards(self._target, self._node_ip)
            self._evictor = Evictor(self.settings, self._workshop, self._pods, self.runs, self._post, self._events.emit)

            self._usage = Sampler(self.settings.name, cgroups, self._subjects, self.settings.usage_period_s)
            server = AgentServer(
                shelf,
                self._is_current,
                self._is_healthy,
                lambda: self._usage.encoded,
                (*RemoteStreams(self).routes(), *self._forwards.routes()),
            )
            stack.push_async_callback(server.close)
            await self._listen(server)
            facts = Facts(
                address=self._node_ip,
                port=self.port,
                runtimes={tag: version for tag, (_, version) in runtimes.items()},
                isolation={"limits": cgroups.described, **means.described},
                classes=means.classes,
            )
            log.info("agent starts", extra={"address": self._node_ip, "port": self.port, "isolation": facts.isolation})
            self._record = NodeRecord(
                self.settings, facts, self._client, self._membership, self._own, self.registered.set, self._retune
            )
            await self._work(self._record, stop)

    @property
    def node_uid(self) -> str:
        """The Node's uid, once it is registered."""
        return self._record.node_uid

    def _is_healthy(self) -> bool:
        return self.registered.is_set() and not self._stopping

    async def _open_records(self) -> PodRecords:
        deadline = time.monotonic() + self.settings.lock_wait_s
        while True:
            try:
                return PodRecords(self.settings.data_dir)
            except InUse:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LOCK_PAUSE_S)

    async def _listen(self, server: AgentServer) -> None:
        kept = self._shelf.credential("serving")
        config = self._config
        if kept is not None and config.client_cert_data is not None:
            config = config._replace(client_cert_data=kept.certificate_pem, client_key_data=kept.key_pem)
        self._serving = context = tls_context(config, self.settings.data_dir / "pki")
        if context is None:
            log.warning("no client certificate in the kubeconfig: logs cannot be read through the API server")
            return
        await server.start(self._node_ip, self.settings.port, context)
        self.port = server.port

    def _identify(self, use: Use, credential: Credential, authorities: bytes) -> None:
        """Put a renewed certificate into use, on new connections."""
        if use == "client":
            self._client.identify(
                self._client.config._replace(
                    ca_data=authorities or None,
                    client_cert_data=credential.certificate_pem,
                    client_key_data=credential.key_pem,
                )
            )
        if self._serving is not None:
            if use == "serving":
                renew(self._serving, credential.certificate_pem, credential.key_pem, authorities)
            elif authorities:
                self._serving.load_verify_locations(cadata=authorities.decode())

    async def _find_means(self, runtimes: Sequence[Runtime]) -> Means:
        """How far pods can be kept apart. With users of their own they must be able to reach what they run."""
        settings = self.settings
        users = settings.users == "auto" and has_users()
        means = await find_means(settings.data_dir, settings.hide, separate_users=users)
        needs = [path for runtime in runtimes for path in runtime.needs]
        in_view = [path for path in needs if not is_within(path, means.hidden)]
        if users and not all(reachable_for_others(path) for path in in_view):
            return await find_means(settings.data_dir, settings.hide, separate_users=False)
        return means

    async def _work(self, record: NodeRecord, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._adopt()
            if self._config.client_cert_data is not None and self._config.ca_data is not None:
                keeper = IdentityKeeper(self.settings.name, self._shelf, self._client, self._identify)
                self._errands.add(self._spawn(keeper.run(), "identity"))
            tasks = [
                self._spawn(work, name)
                for name, work in (
                    ("machine", self._decide()),
                    ("pods", self._own.follow()),
                    ("contact", self._own.watch_contact()),
                    ("node", record.run()),
                    ("statuses", self._statuses.run()),
                    ("events", self._events.run()),
                    ("housekeeping", self._keep_house()),
                    ("tokens", self._renew_tokens()),
                    ("volumes", self._refresh_volumes()),
                    ("evictions", self._evictor.run()),
                    ("usage", self._usage.run()),
                )
            ]
            await stop.wait()
            await self._leave()
            for task in tasks:
                task.cancel()
            for task in [*self._tasks.values(), *self._errands]:
                task.cancel()
            if self._timer is not None:
                self._timer.cancel()

    def _send_off(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Something short that runs beside everything else, and is cancelled at the end if it is not done by then."""
        task = self._spawn(work, name)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    async def _leave(self) -> None:
        """What SIGTERM means: the pods stay, or they are stopped; what is known is reported if anybody listens."""
        self._stopping = True
        if self.settings.on_stop == "stop":
            log.info("agent stops its pods", extra={"pods": len(self._pods)})
            self._post(Shutdown())
            await self._idle.wait()
            await asyncio.gather(*(hands.settled() for hands in self._hands.values()))
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._statuses.drained()
                if self.settings.on_stop == "stop":
                    await self._record.leave()
        except TimeoutError:
            log.warning("not every status was reported before the end")
        except ApiError as error:
            log.info("the node was not given back", extra={"error": error.message})

    # -- the loop -------------------------------------------------------------------------------------------------

    def _retune(self, config: ClusterConfigSpec) -> None:
        """The cluster's settings, where the node has none of its own."""
        own = self.settings
        waits = Retuned(
            own_or(own.backoff_initial_s, config.initial_container_restart_period_seconds),
            own_or(own.backoff_max_s, config.max_container_restart_period_seconds),
        )
        if waits != self._waits:
            self._waits = waits
            self._post(waits)

    def _post(self, stimulus: Stimulus) -> None:
        self._stimuli.put_nowait(stimulus)

    # What `ownpods` sees of us.

    def post(self, stimulus: Stimulus) -> None:
        """Let the machine hear something."""
        self._post(stimulus)

    @property
    def unheard(self) -> int:
        """Stimuli that the machine has not heard yet."""
        return self._stimuli.qsize()

    @property
    def pods(self) -> Mapping[str, Pod]:
        """The pods that are not yet released, by uid."""
        return self._pods

    def runs(self, uid: str) -> bool:
        """Whether the pod has a process."""
        return bool(self._running(uid))

    async def _decide(self) -> None:
        while True:
            stimulus = await self._stimuli.get()
            self._note(stimulus)
            for effect in self._machine.step(stimulus, self._now()):
                await self._carry_out(effect)
            self._forget_released()
            self.stepped.set()
            if self._stopping and isinstance(stimulus, Shutdown | Exited | SupervisorLost) and not self._machine.busy:
                self._idle.set()

    def _now(self) -> float:
        """The time of day, for the machine, which is told when somebody has set it."""
        now = time.time()
        ahead_s = now - time.monotonic()
        by_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if abs(by_s) > CLOCK_STEP_S:
            log.warning("the clock was set", extra={"seconds": round(by_s, 3)})
            self._machine.shift(by_s)
        return now

    def _note(self, stimulus: Stimulus) -> None:
        """What the outside must know of a stimulus before the machine decides."""
        if isinstance(stimulus, PodSeen):
            self._meet(stimulus.pod)
        elif isinstance(stimulus, Exited):
            EXITS.labels("completed" if stimulus.exit.code == 0 else "failed").inc()
        elif isinstance(stimulus, Called) and stimulus.attempt == 0 and stimulus.uid in self._first_seen:
            START_SECONDS.observe(max(0.0, stimulus.at - self._first_seen.pop(stimulus.uid)))

    def _meet(self, pod: Pod) -> None:
        known = self._pods.get(pod.uid)
        self._pods[pod.uid] = pod
        hands = self._hands.get(pod.uid)
        if hands is None:
            if self._stopping:
                return
            hands = self._make_hands(pod.uid)
            self._first_seen[pod.uid] = time.time()
        hands.pod = pod
        finished = pod.status.phase in ("Succeeded", "Failed")
        if known is None and finished:
            return  # nothing of it will ever run here: no folder for it
        if known is None or pod.uid in self._unsaved or _changed(known, pod):
            try:
                self._workshop.records.save_pod(pod)
                self._unsaved.discard(pod.uid)
            except OSError as error:
                self._unsaved.add(pod.uid)
                log.error("pod cannot be written to disk", extra={"podId": pod.uid, "error": str(error)})

    def _make_hands(self, uid: str) -> PodHands:
        hands = PodHands(uid, self._workshop, self._post)
        self._hands[uid] = hands
        self._tasks[uid] = self._spawn(hands.run(), f"pod {uid}")
        return hands

    async def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, SetTimer):
            return self._set_timer(effect.at)
        pod, hands = self._pods[effect.uid], self._hands[effect.uid]
        match effect:
            case Prepare():
                self._send_off(hands.prepare(effect, self._running(effect.uid)), f"prepare {effect.uid}")
            case Start():
                hands.start(effect)
            case Stop():
                hands.stop(effect)
            case Retire():
                hands.retire()
            case Release():
                hands.release()
            case ProbeNow():
                self._send_off(hands.probe(effect, self._prober), f"probe {effect.uid}")
            case RunHook():
                self._send_off(hands.hook(effect, self._prober), f"hook {effect.uid}")
            case WriteStatus():
                await self._statuses.write(effect.uid, pod, effect.status, self._told(effect.uid))
                self._measure()
            case DeletePod():
                await self._statuses.delete(effect.uid, pod)
            case Emit():
                self._events.emit(effect, pod)
        return None

    def _told(self, uid: str) -> dict[str, str]:
        """What is reported of a pod that Kubernetes' status has no room for."""
        ports, isolation = self._workshop.ports.ports(uid), self._workshop.isolation(uid)
        told = {PORTS: json.dumps(ports, separators=(",", ":"))} if ports else {}
        return {**told, EFFECTIVE_ISOLATION: isolation} if isolation else told

    def _running(self, uid: str) -> frozenset[str]:
        life = self._machine.pod(uid)
        return frozenset(c.name for c in life.lives if c.has_process) if life is not None else frozenset()

    def _is_current(self, uid: str, container: str, attempt: int) -> bool:
        life = self._machine.pod(uid)
        lives = life.lives if life is not None else []
        return any(c.name == container and c.attempt == attempt and c.has_process for c in lives)

    def find(self, namespace: str, pod: str, uid: str, container: str) -> Place:
        """Where exec and attach find a running container; an empty `uid` means whichever. Raises NoPod, NoContainer."""
        named = [
            known
            for known in self._pods.values()
            if (known.metadata.namespace, known.metadata.name) == (namespace, pod) and uid in ("", known.uid)
        ]
        if not named:
            raise NoPod(pod)
        found = named[-1]  # of several the newest: an old one is on its way out
        spec = container_named(found.spec, container)
        if spec is None or container not in self._running(found.uid):
            raise NoContainer(container)
        return Place(self._workshop.records.folder(found.uid), container, bool(spec.tty))

    def _target(self, uid: str) -> Target | None:
        pod = self._pods.get(uid)
        return Target(pod, self._workshop.ports.ports(uid), self._running(uid)) if pod is not None else None

    def _subjects(self) -> list[Subject]:
        """The containers whose processes run now."""
        found = []
        for uid, hands in self._hands.items():
            life, pod = self._machine.pod(uid), hands.pod
            if life is None or pod is None:
                continue
            meta = pod.metadata
            for each in life.lives:
                if each.has_process and each.name in hands.pids:
                    pid = hands.pids[each.name]
                    found.append(Subject(uid, meta.namespace or "", meta.name, each.name, each.attempt, pid))
        return found

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, at - time.time())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._post, Tick())

    def _forget_released(self) -> None:
        for uid in [uid for uid, hands in self._hands.items() if hands.released]:
            del self._hands[uid]
            self._pods.pop(uid, None)
            self._forwards.end(uid)
            self._first_seen.pop(uid, None)
            self._unsaved.discard(uid)
            self._tasks.pop(uid)

    def _measure(self) -> None:
        lives = [life for uid in self._machine.uids if (pod := self._machine.pod(uid)) for life in pod.lives]
        PODS.set(len(self._machine.uids))
        RUNNING.set(sum(life.is_running for life in lives))

    # -- pods -----------------------------------------------------------------------------------------------------

    async def _adopt(self) -> None:
        for uid in self._workshop.records.uids():
            pod = self._workshop.records.pod(uid)
            hands = PodHands(uid, self._workshop, self._post)
            hands.pod = pod
            remembered = await hands.adopt()
            self._hands[uid] = hands
            if pod is None:
                await self._abandon(hands, [memory.name for memory in remembered if memory.exit is None])
                continue
            self._pods[uid] = pod
            self._own.adopted(uid)
            self._post(Adopted(pod, remembered))
            if not hands.connected:
                runs = tuple((memory.name, memory.attempt) for memory in remembered if memory.exit is None)
                self._post(SupervisorLost(uid, runs))
            self._tasks[uid] = self._spawn(hands.run(), f"pod {uid}")
        log.info("pods were adopted", extra={"pods": len(self._pods)})

    async def _abandon(self, hands: PodHands, running: list[str]) -> None:
        """A folder that names no pod: whatever runs there belongs to nobody."""
        log.warning("processes of an unknown pod are stopped", extra={"podId": hands.uid})
        for name in running:
            hands.stop(Stop(hands.uid, name, 0, 0.0, "Orphaned"))
        hands.release()
        self._tasks[hands.uid] = self._spawn(hands.run(), f"pod {hands.uid}")

    # -- house ----------------------------------------------------------------------------------------------------

    async def _renew_tokens(self) -> None:
        while True:
            await self._workshop.accounts.renew(list(self._pods.values()), time.time())
            await asyncio.sleep(self.settings.token_period_s)

    async def _refresh_volumes(self) -> None:
        while True:
            await asyncio.sleep(self.settings.volume_period_s)
            await self._workshop.volumes.refresh(list(self._pods.values()), time.time())

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self.settings.housekeeping_period_s)
            for uid in self._unsaved & set(self._pods):
                self._meet(self._pods[uid])
            keep = frozenset(self._machine.uids)
            try:
                old = await asyncio.to_thread(
                    self._workshop.shelf.expire, keep, self.settings.log_retention_s, time.time()
                )
                gone = self._workshop.bundles.collect()
            except OSError as error:
                log.warning("old logs and bundles could not be removed", extra={"error": str(error)})
                continue
            if old or gone:
                log.info("old logs and bundles removed", extra={"logs": old, "bundles": gone})


def _changed(old: Pod, new: Pod) -> bool:
    """Whether what is kept on disk must be written again: anything but version, and of the status what a successor
    cannot see for itself: since when the pod runs, and what probes have said."""
    before, after = old.metadata, new.metadata
    return (
        _verdicts(old.status) != _verdicts(new.status)
        or old.spec != new.spec
        or (
            (before.deletion_timestamp, before.annotations, before.labels)
            != (after.deletion_timestamp, after.annotations, after.labels)
        )
    )


def _verdicts(status: PodStatus) -> tuple[object, ...]:
    told = (*status.init_container_statuses, *status.container_statuses)
    return status.start_time, [(each.container_id, each.started, each.ready) for each in told]


def ready_line(agent: Agent) -> str:
    """What the program prints once its Node is registered."""
    return json.dumps({"ready": True, "node": agent.settings.name, "port": agent.port})
