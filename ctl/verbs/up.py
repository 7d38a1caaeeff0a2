"""Run a whole Stark on this machine: API server, controllers and agents, until Ctrl-C.

The control plane keeps its state in the data directory and goes on where it stopped. Everything listens on loopback
unless you say otherwise. When it is ready one line says so, with the kubeconfig for starkctl and kubectl.

Examples:
  starkctl up                                   state in ~/.stark/data, https://127.0.0.1:6443
  starkctl up --ephemeral --port 0              forget everything at the end, on a free port
  starkctl up --example                         with a small example running
  starkctl up --store etcd=http://127.0.0.1:2379
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from ..errors import EXIT_OK, CommandError, UsageError
from ..options import Session
from ..up.plane import Plane, PlaneSettings, locked

CONNECTS = False
PORT_DEFAULT = 6443
"""Where Kubernetes API servers listen, so that nobody has to look it up."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data-dir", metavar="DIR", help="where state, keys, bundles and logs are kept (default ~/.stark/data)"
    )
    parser.add_argument("--address", default="127.0.0.1", metavar="IP", help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=PORT_DEFAULT, metavar="PORT", help=f"port (default {PORT_DEFAULT}; 0: a free one)"
    )
    parser.add_argument("--store", default="sqlite", metavar="STORE", help="sqlite (default) or etcd=URL[,URL...]")
    parser.add_argument(
        "--blobs",
        default="",
        metavar="PLACE",
        help="where bundles are kept: a folder, or s3://BUCKET/PREFIX with AWS_... in the environment (default: DIR/blobs)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes of the API server that serve (default 1: all in one)",
    )
    parser.add_argument(
        "--agents", type=int, default=1, metavar="N", help="agents to run on this machine (default 1; 0: none)"
    )
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="label of the agents' nodes")
    parser.add_argument("--cpu", type=int, metavar="MILLICORES", help="cpu the agents offer (default: the machine's)")
    parser.add_argument("--memory", type=int, metavar="MIB", help="memory the agents offer (default: the machine's)")
    parser.add_argument("--pods", type=int, metavar="N", help="pods an agent runs at most")
    parser.add_argument(
        "--ephemeral", action="store_true", help="use a temporary data directory and remove it at the end"
    )
    parser.add_argument("--example", action="store_true", help="register the `hello` pack and apply its deployment")
    parser.add_argument("--verbose", action="store_true", help="copy the programs' logs to stderr")


def run(args: argparse.Namespace, session: Session) -> int:
    """Run until told to stop."""
    if args.workers < 1:
        raise UsageError("--workers must be one or more")
    if args.agents < 0:
        raise UsageError("--agents must be zero or more")
    if not 0 <= args.port <= 65535:
        raise UsageError("--port must be between 0 and 65535")
    if args.store != "sqlite" and not args.store.startswith("etcd="):
        raise UsageError(f"--store {args.store!r} is neither `sqlite` nor `etcd=URL[,URL...]`")
    with _data_dir(args) as directory, locked(directory):
        return asyncio.run(_run(args, directory))


@contextlib.contextmanager
def _data_dir(args: argparse.Namespace) -> Iterator[Path]:
    if not args.ephemeral:
        home = Path(os.environ.get("STARK_HOME") or Path.home() / ".stark")
        yield Path(args.data_dir or home / "data").expanduser().absolute()
        return
    if args.data_dir:
        raise UsageError("--ephemeral and --data-dir exclude each other")
    directory = Path(tempfile.mkdtemp(prefix="stark-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _run(args: argparse.Namespace, directory: Path) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _told_to_stop, stop)
    plane = Plane(_settings(args, directory))
    watching: asyncio.Task[None] | None = None
    try:
        starting = asyncio.create_task(_start(args, plane))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return EXIT_OK
        await starting
        watching = asyncio.create_task(plane.run())
        await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
        print("stopping", file=sys.stderr, flush=True)
    finally:
        await plane.stop()
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
    return EXIT_OK


def _told_to_stop(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)  # the second signal: the children get theirs from the kernel when we are gone
    stop.set()


def _settings(args: argparse.Namespace, directory: Path) -> PlaneSettings:
    options: list[str] = [word for label in args.label for word in ("--label", label)]
    for name in ("cpu", "memory", "pods"):
        value = getattr(args, name)
        if value is not None:
            options += [f"--{name}", str(value)]
    return PlaneSettings(
        data_dir=directory,
        address=args.address,
        port=args.port or _free_port(args.address),
        store=args.store,
        blobs=args.blobs,
        workers=args.workers,
        agents=args.agents,
        agent_options=tuple(options),
        echo_logs=args.verbose,
    )


def _free_port(address: str) -> int:
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise CommandError(f"cannot listen on {address}: {error.strerror}") from error


async def _start(args: argparse.Namespace, plane: Plane) -> None:
    await plane.start()
    if args.example:
        await asyncio.to_thread(_apply_example, plane.kubeconfig)
    print(f"ready: {plane.url}  kubeconfig: {plane.kubeconfig}")
    print(f"  export KUBECONFIG={plane.kubeconfig}", flush=True)


def _apply_example(kubeconfig: Path) -> None:
    """What the tutorial does by hand: register a pack, apply its deployment."""
    from ..__main__ import run as starkctl

    where = ["--kubeconfig", str(kubeconfig)]
    with resources.as_file(resources.files("stark.manifests") / "examples") as examples:
        bundle = str(examples / "hello-node" / "bundle.js")
        starkctl(["pack", "register", bundle, "--name", "hello", "--ver", "1.0.0", "--runtime", "node", *where])
        starkctl(["apply", "-f", str(examples / "hello.yaml"), *where])
