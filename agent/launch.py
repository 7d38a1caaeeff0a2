"""Everything a container needs before it can start: pack, bundle, environment, ports, folders, limits, identity.

`Workshop.build` turns a container of a pod into the specification that a supervisor executes, or raises `NotReady` with
the reason the container waits for.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stark.client.api import Client
from stark.crds.isolation import TRUSTED, isolation_wanted
from stark.crds.packs import Pack, PackBundle
from stark.crds.pods import Container, Pod
from stark.crds.quantity import byte_count, milli_cpu

from .accounts import KUBECONFIG, MOUNTED_AT, AccountFiles, NoToken, is_wanted
from .bundles import BundleStore
from .cgroups import Cgroups, Limits
from .configs import ConfigSource
from .endings import Endings
from .environment import PATH, ConfigError, Sources, Surroundings, expand, port_variables, resolve
from .fetching import BundleError
from .isolation import Home, Means, Unoffered, Wishes, chosen, confine, shown_for, wishes_of
from .logs import LogShelf
from .packs import PackError, PackSource, bundle_for, pack_named_by
from .ports import NoPort, PortBook
from .records import PodNote, PodRecords
from .runtimes import Program, Runtime, runtime_for
from .settings import AgentSettings
from .trust import Trust, read_keys
from .volumes import FAILED_MOUNT, FailedMount, Found, VolumeError, VolumeKeeper, container_mounts, owner_of

NOFILE = (7, 65_536, 65_536)  # RLIMIT_NOFILE; lowered to the hard limit where that is less
NO_CORE = (4, 0, 0)  # RLIMIT_CORE: a crash loop must not fill the disk with cores
TERM = "xterm"  # what a program in a terminal finds, as container runtimes have it
ASKED_S = 5.0
"""How long the server is waited for, by each of those who remember what it said last: what runs here goes on without it."""
CONFIG_REASON = "CreateContainerConfigError"


class NotReady(Exception):
    """The container cannot start yet; `reason` is its waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Launch:
    """One run, ready to be started."""

    spec: dict[str, Any]
    image_id: str
    note: str
    """How the bundle was come by."""


def limits_of(container: Container) -> Limits:
    """What the container's resources say, in the kernel's units."""
    requests = container.resources.requests if container.resources else {}
    limits = container.resources.limits if container.resources else {}
    return Limits(
        cpu_limit_milli=milli_cpu(limits["cpu"]) if "cpu" in limits else None,
        cpu_request_milli=milli_cpu(requests.get("cpu", limits.get("cpu", 0))),
        memory_bytes=byte_count(limits["memory"]) if "memory" in limits else None,
    )


def _streams(container: Container) -> dict[str, bool]:
    """What the supervisor gives the container for its standard streams."""
    return {"stdin": bool(container.stdin), "stdin_once": bool(container.stdin_once), "tty": bool(container.tty)}


def _tag(container: Container, pack: Pack, bundle: PackBundle) -> dict[str, str | None]:
    """What the supervisor keeps about the run for the agent that comes after this one."""
    return {
        "image": container.image,
        "imageID": f"{pack.spec.name}@sha256:{bundle.sha256}",
        "runtime": pack.spec.runtime,
        "sha256": bundle.sha256,
    }


class Workshop:
    """Builds launches; shared by all pods of the node."""

    def __init__(
        self,
        settings: AgentSettings,
        client: Client,
        *,
        node_ip: str,
        architecture: str,
        runtimes: dict[str, tuple[Runtime, str]],
        cgroups: Cgroups,
        records: PodRecords,
        bundles: BundleStore,
        shelf: LogShelf,
        accounts: AccountFiles,
        means: Means,
        allocatable: Mapping[str, str],
    ) -> None:
        self.settings = settings
        self.node_ip = node_ip
        self.cgroups = cgroups
        self.records = records
        self.shelf = shelf
        self.accounts = accounts
        self.bundles = bundles
        self.endings = Endings(records)
        self.ports = PortBook()
        self._architecture = architecture
        self._runtimes = runtimes
        hasty = client.hasty(ASKED_S)
        self._packs = PackSource(hasty, settings.data_dir / "packs")
        own_keys = read_keys(settings.trusted_keys) if settings.trusted_keys is not None else ()
        self._trust = Trust(hasty, settings.data_dir, own_keys)
        self._configs = ConfigSource(hasty)
        self._allocatable = allocatable
        self.volumes = VolumeKeeper(records, self._configs, accounts, node_ip, allocatable)
        self._means = means
        self._isolation: dict[str, str] = {}
        self._deciding = threading.Lock()  # ports and users are given out one pod at a time

    def runtime(self, tag: str) -> Runtime | None:
        """The runtime for a pack's tag."""
        return runtime_for(tag, self._runtimes)

    async def build(self, pod: Pod, container: Container, attempt: int, running: frozenset[str]) -> Launch:
        """One run of the container. `running` names the pod's containers that run now. Raises NotReady."""
        try:
            pack = await self._packs.get(pack_named_by(container.image or ""))
            await self._trust.check(pack, pod.metadata.namespace or "")
            bundle = bundle_for(pack, self._architecture)
            sources = await self._configs.read(pod.metadata.namespace or "", container)
            token = await self.accounts.obtain(pod)
            filling = await self._filling(pod)
            begun = time.monotonic()
            path, cached = await self.bundles.ensure(pod.uid, pack.metadata.name, bundle.sha256, bundle.size)
            found = (pack, path, bundle, sources, token, filling)
            spec = await asyncio.to_thread(self._spec, pod, container, attempt, running, *found)
        except PackError as error:
            raise NotReady(error.reason, error.message) from error
        except BundleError as error:
            raise NotReady("ErrImagePull", str(error)) from error
        except FailedMount as error:
            raise NotReady(FAILED_MOUNT, str(error)) from error
        except (ConfigError, NoPort, NoToken, Unoffered, VolumeError) as error:
            raise NotReady(CONFIG_REASON, str(error)) from error
        except OSError as error:
            raise NotReady("CreateContainerError", str(error)) from error
        took_ms = int((time.monotonic() - begun) * 1000)
        note = f'Successfully pulled pack "{container.image}" in {took_ms}ms. Size: {bundle.size} bytes.'
        if cached:
            note = f'Pack "{container.image}" already present on machine'
        return Launch(spec, f"{pack.spec.name}@sha256:{bundle.sha256}", note)

    def isolation(self, uid: str) -> str:
        """The class of isolation the pod has; empty before it is known."""
        known = self._isolation.get(uid, "")
        if not known and (known := self.records.note(uid).isolation):
            self._isolation[uid] = known
        return known

    def forget(self, uid: str) -> None:
        """The pod is no more."""
        self.ports.release(uid)
        self.bundles.let_go(uid)
        self._isolation.pop(uid, None)

    def _spec(
        self,
        pod: Pod,
        container: Container,
        attempt: int,
        running: frozenset[str],
        pack: Pack,
        path: Path,
        bundle: PackBundle,
        sources: Sources,
        token: str | None,
        filling: Found,
    ) -> dict[str, Any]:
        runtime = self.runtime(pack.spec.runtime)
        if runtime is None:
            raise NotReady(CONFIG_REASON, f"this node has no runtime for {pack.spec.runtime} packs")
        kind = self._kind(pod)
        wishes = wishes_of(pod, container, kind, self._mounts(pod, container, attempt))
        note = self._settled(pod, kind, wishes, running)
        user, owner = note.user, owner_of(pod, note)
        self.volumes.make(pod, filling, owner)
        if token is not None:
            self.accounts.place(pod, token, user)
        work = self.records.work_folder(pod.uid, container.name, user)
        limits = replace(limits_of(container), pids=self.settings.pids_max)
        execution = str(uuid.uuid4())
        env = self._environment(pod, container, sources, pack, execution, work, note.ports)
        wishes.mounts.extend(self.volumes.common_memory(pod, container, note))
        wishes.mounts.extend(container_mounts(pod, container, env, self.volumes.folder(pod.uid), owner))
        program = Program(
            bundle=path,
            pack_id=pack.metadata.uid or pack.metadata.name,
            pack_name=pack.spec.name,
            pack_version=pack.spec.version,
            runtime_tag=pack.spec.runtime,
            entrypoint=pack.spec.metadata.entrypoint,
            timeout_ms=pack.spec.metadata.timeout,
            metadata={
                **pack.spec.metadata.model_dump(mode="json", by_alias=True, exclude_none=True),
                **pod.metadata.annotations,
            },
            args=[expand(argument, env) for argument in container.args],
            command=[expand(argument, env) for argument in container.command],
            pod_uid=pod.uid,
            execution=execution,
            memory_bytes=limits.memory_bytes,
            memory_enforced=self.cgroups.version != 0,
        )
        invocation = runtime.invoke(program)
        shown = shown_for(kind, runtime.needs, self._means.hidden)
        group = self.cgroups.create(pod.uid, container.name, limits)
        return {
            "name": container.name,
            "attempt": attempt,
            "execution": execution,
            "tag": _tag(container, pack, bundle),
            "argv": invocation.argv,
            "env": {**env, **invocation.env},
            "cwd": container.working_dir or str(work),
            "control": invocation.control,
            "rlimits": [NOFILE, NO_CORE, *invocation.rlimits],
            **confine(kind, self._means, user, self._home(pod, work, path, shown), wishes),
            "cgroups": list(group.procs),
            "oom_file": group.oom_file,
            "log": str(self._log_folder(pod, container) / f"{attempt}.log"),
            "log_max_bytes": self.settings.log_max_bytes,
            "log_max_files": self.settings.log_max_files,
            **_streams(container),
            "deadline_s": program.timeout_ms / 1000 if program.timeout_ms else None,
        }

    def _kind(self, pod: Pod) -> str:
        """Its class of isolation: never another than at first, whatever is written on it. Raises Unoffered."""
        return chosen(self.isolation(pod.uid) or isolation_wanted(pod.metadata.annotations), self._means.refused)

    def _settled(self, pod: Pod, kind: str, wishes: Wishes, running: frozenset[str]) -> PodNote:
        """What is decided for the pod as a whole, and kept."""
        with self._deciding:
            ports = self.ports.assign(pod, running)
            note = PodNote(ports, self._user(pod.uid, kind, wishes), kind)
            self.records.save_note(pod.uid, note)
        return note

    def _home(self, pod: Pod, work: Path, bundle: Path, more: list[Path]) -> Home:
        """What a container of the pod reaches at the paths of the host, however little it sees else."""
        shown = [bundle, *more]
        if is_wanted(pod):
            shown.append(self.accounts.folder(pod.uid))
        temporary = self.records.temporary_folder(pod.uid)
        return Home((work, temporary), temporary, shown, pod.spec.hostname or pod.metadata.name)

    async def _filling(self, pod: Pod) -> Found:
        """What the pod's volumes are filled from. Raises FailedMount, NotReady."""
        if pod.spec.volumes and not self._means.views:
            raise NotReady(
                CONFIG_REASON, "this node cannot give containers a view of the files of their own: no volumes"
            )
        return await self.volumes.read(pod, time.time())

    def _mounts(self, pod: Pod, container: Container, attempt: int) -> list[dict[str, Any]]:
        """What the container finds beside its volumes: its last message's file, and, unless it has a volume there, the
        pod's account where clients look for it."""
        ending = self._ending(pod, container, attempt)
        if not is_wanted(pod) or not self._means.views:
            return ending
        if any(each.mount_path.rstrip("/") == MOUNTED_AT for each in container.volume_mounts):
            return ending
        account = self.accounts.folder(pod.uid)
        return [{"source": str(account), "target": MOUNTED_AT, "read_only": True, "no_exec": True}, *ending]

    def _ending(self, pod: Pod, container: Container, attempt: int) -> list[dict[str, Any]]:
        """The file for the container's last message, if it wants one: making room for it in /dev takes 30 ms."""
        path = container.termination_message_path
        if not path:
            return []
        if not os.path.isabs(path) or os.path.normpath(path) == "/":
            raise NotReady(CONFIG_REASON, f'terminationMessagePath "{path}" is no absolute path of a file')
        if not self._means.views:
            raise NotReady(CONFIG_REASON, f"this node cannot show a container a file at {path}")
        file = self.endings.make(pod.uid, container.name, attempt)
        return [{"source": str(file), "target": path, "read_only": False, "no_exec": True}]

    def _log_folder(self, pod: Pod, container: Container) -> Path:
        folder = self.shelf.folder(pod.metadata.namespace or "", pod.metadata.name, pod.uid, container.name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.shelf.forget_old_attempts(folder)
        return folder

    def _environment(
        self,
        pod: Pod,
        container: Container,
        sources: Sources,
        pack: Pack,
        execution: str,
        work: Path,
        ports: dict[str, int],
    ) -> dict[str, str]:
        base = {
            "PATH": PATH,
            "HOME": str(work),
            "TMPDIR": str(self.records.temporary_folder(pod.uid)),
            "LANG": "C.UTF-8",
            "HOSTNAME": pod.spec.hostname or pod.metadata.name,
            **({"TERM": TERM} if container.tty else {}),
            **self.accounts.environment(),
            **self._pointers(pod),
            **({"STARK_SERVICE_ACCOUNT_DIR": str(self.accounts.folder(pod.uid))} if is_wanted(pod) else {}),
            **pack.spec.metadata.env,
        }
        last = {
            "STARK_POD_ID": pod.uid,
            "STARK_PACK_ID": pack.metadata.uid or pack.metadata.name,
            "STARK_PACK_VERSION": pack.spec.version,
            "STARK_EXECUTION_ID": execution,
            **port_variables(container, ports),
        }
        return resolve(pod, container, sources, Surroundings(self.node_ip, self._allocatable), base, last)

    def _pointers(self, pod: Pod) -> dict[str, str]:
        """What leads clients to the pod's account where they cannot see it at the usual place."""
        if self._means.views or not is_wanted(pod):
            return {}
        return {"KUBECONFIG": str(self.accounts.folder(pod.uid) / KUBECONFIG)}

    def _user(self, uid: str, kind: str, wishes: Wishes) -> int | None:
        if kind == TRUSTED:
            return wishes.run_as_user
        if not self._means.separate_users:
            return None
        return self.records.note(uid).user or self.records.free_user()
