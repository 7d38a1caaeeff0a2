"""Container engines, by their own commands: the start of a bare command, and what watches over it.

The image has nothing but a static busybox and lies on the host's file system (`vfs`, which works everywhere); containers
use the host's network. So what is measured is the engine, not layers, bridges or images.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from . import Sizes, cpu_percent, found, lateness_ms, marked, rss_mib, ticker, waited

IMAGE: Final = "bench:1"
AT_ONCE: Final = 8
"""Commands that start containers at the same time: more are no faster."""
PODMAN_CONF: Final = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@dataclass
class Engine:
    """An engine by its command. `watcher` marks the process beside each container, `daemons` those that serve all."""

    name: str
    words: list[str]
    place: str
    watcher: str
    daemons: tuple[str, ...] = ()
    at_once: tuple[str, ...] = ()
    """What keeps `rm -f` from asking programs first, where it does."""
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        """Its answer. Raises RuntimeError with what it says when it fails."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run([*self.words, *words], env=environment, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name} {words[0]}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def removed(self, *containers: str) -> None:
        """Take containers away at once."""
        if containers:
            self("rm", "-f", *self.at_once, *containers)

    def started(self, *command: str) -> str:
        """The id of a container that runs in the background."""
        return self("run", "-d", "--network", "host", IMAGE, "/busybox", *command)


@contextmanager
def docker(folder: Path) -> Iterator[Engine]:
    """A Docker daemon of its own. Raises Missing."""
    client, server = found("docker", "docker"), found("dockerd", "docker")
    socket, exec_root = f"unix://{folder}/d.sock", folder / "exec"
    words = [
        server, "-H", socket, "--data-root", str(folder / "data"), "--exec-root", str(exec_root),
        "--pidfile", str(folder / "pid"), "--storage-driver=vfs", "--iptables=false", "--bridge=none",
    ]  # fmt: skip
    with (folder / "dockerd.log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as daemon:
        try:
            waited("the Docker daemon serves", lambda: daemon.poll() is not None or (folder / "d.sock").exists())
            yield Engine("docker", [client, "-H", socket], str(exec_root), "containerd-shim", ("dockerd", "containerd"))
        finally:
            daemon.terminate()


@contextmanager
def podman(folder: Path) -> Iterator[Engine]:
    """Podman with a storage of its own. Raises Missing."""
    program, conf = found("podman", "podman"), folder / "containers.conf"
    conf.write_text(PODMAN_CONF)
    words = [program, "--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
    yield Engine(
        "podman", words, str(folder), "conmon", at_once=("-t", "0"), environment={"CONTAINERS_CONF": str(conf)}
    )


ENGINES: Final = {"docker": docker, "podman": podman}


def measure(name: str, folder: Path, sizes: Sizes) -> None:
    """Print the figures of one engine. Raises Missing."""
    busybox = Path(found("busybox", name, "/bin"))
    with ENGINES[name](folder) as engine:
        engine("import", "-", IMAGE, stdin=_image(busybox, folder))
        try:
            _measure_starts(engine, sizes)
            _measure_follow(engine)
            _measure_crowd(engine, sizes)
        finally:
            engine.removed(*engine("ps", "-aq").split())


def _image(busybox: Path, folder: Path) -> bytes:
    root = folder / "image"
    root.mkdir()
    (root / "busybox").write_bytes(busybox.read_bytes())
    (root / "busybox").chmod(0o755)
    return subprocess.run(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE, check=True).stdout


def _measure_starts(engine: Engine, sizes: Sizes) -> None:
    detached, whole = [], []
    for _ in range(sizes.rounds):
        begun = time.perf_counter()
        made = engine.started("sleep", "1000000")
        detached.append(time.perf_counter() - begun)
        engine.removed(made)
        begun = time.perf_counter()
        engine("run", "--rm", "--network", "host", IMAGE, "/busybox", "true")
        whole.append(time.perf_counter() - begun)
    print(f"{engine.name}_run_to_running_ms: {statistics.median(detached) * 1000:.1f}")
    print(f"{engine.name}_run_true_to_its_end_ms: {statistics.median(whole) * 1000:.1f}")


def _measure_follow(engine: Engine) -> None:
    made = engine.started("sh", "-c", ticker("/busybox sleep"))
    words, environment = [*engine.words, "logs", "-f", made], {**os.environ, **engine.environment}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            print(f"{engine.name}_log_follow_ms: {lateness_ms(iter(process.stdout)):.1f}")
        finally:
            process.kill()
    engine.removed(made)


def _measure_crowd(engine: Engine, sizes: Sizes) -> None:
    crowd, begun = sizes.crowd, time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda _: engine.started("sleep", "1000000"), range(crowd)))
    print(f"{engine.name}_started_per_second: {crowd / (time.perf_counter() - begun):.1f}")
    watchers = list(marked(engine.watcher, engine.place))
    daemons = [each for each in marked(engine.place) if each.name() in engine.daemons]
    print(f"{engine.name}_cpu_of_{crowd}_idle_percent: {cpu_percent([*daemons, *watchers], sizes.idle_s):.2f}")
    print(f"{engine.name}_daemons_rss_with_{crowd}_mib: {sum(map(rss_mib, daemons)):.1f}")
    print(f"{engine.name}_rss_beside_a_container_median_mib: {statistics.median(map(rss_mib, watchers)):.1f}")
