"""`stark-agent`: runs the pods that are bound to this node. Exit codes: 0 stopped as asked, 1 error, 2 wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from stark.client.config import ClientConfig, ConfigError, load_kubeconfig
from stark.crds.certificates import NODE_USER_PREFIX
from stark.crds.names import dns_subdomain_problems, label_key_problems, label_value_problems
from stark.crds.quantity import byte_count, is_quantity
from stark.crds.version import VERSION

from .app import Agent, ready_line
from .joining import Credential, IdentityShelf, JoinRefused, JoinSettings, identity_of
from .joining.options import add_joining, join_settings
from .joining.person import REGISTERED, NodeFiles, home
from .journal import configure
from .noderecord import parse_taint
from .records import InUse
from .settings import AgentSettings
from .trust import KeysUnusable

log = logging.getLogger(__name__)

OWN_RESOURCES = ("cpu", "memory", "pods")
"""What has an option of its own."""
SECOND_SIGNAL_AFTER_S = 1.0
"""Signals closer together are one: the kernel repeats a parent-death signal for each thread that the parent had."""


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not a label: write key=value")
    for problem in (*label_key_problems(key), *label_value_problems(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a label: {problem}")
    return key, value


def _taint(text: str) -> str:
    try:
        parse_taint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _resource(text: str) -> tuple[str, str]:
    name, equals, amount = text.partition("=")
    if not equals or label_key_problems(name) or not is_quantity(amount) or name in OWN_RESOURCES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a resource: write name=amount, e.g. nvidia.com/gpu=2")
    return name, amount


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def _bytes(text: str) -> int:
    if not is_quantity(text) or (amount := byte_count(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes like 500Mi or 4Gi")
    return amount


def _percent(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage from 0 to below 100")
    return share


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(prog="stark-agent", description="Run the pods that are bound to this node.")
    words.add_argument("--kubeconfig", type=Path, help="identity of this node and address of the API server")
    add_joining(words)
    words.add_argument("--data-dir", type=Path, required=True, help="where pods, bundles and logs are kept")
    words.add_argument("--name", help="name of the node (default: the host's name)")
    words.add_argument("--address", default="", help="address of the node (default: the one towards the API server)")
    words.add_argument("--port", type=int, default=0, help="port of the agent's HTTPS endpoint (default: a free one)")
    words.add_argument(
        "--label", type=_label, action="append", default=[], metavar="KEY=VALUE", help="label of the node"
    )
    words.add_argument(
        "--taint", type=_taint, action="append", default=[], metavar="KEY[=VALUE]:EFFECT",
        help="taint of the node, when it is first registered",
    )  # fmt: skip
    words.add_argument(
        "--accept-public-packs", action=argparse.BooleanOptionalAction,
        help="run public packs of users who do not own the node (default: as the Node says; at first, yes)",
    )  # fmt: skip
    words.add_argument("--cpu", type=_positive, metavar="MILLI", help="thousandths of a core offered (default: all)")
    words.add_argument("--memory", type=_positive, metavar="MIB", help="MiB of memory offered (default: all)")
    words.add_argument(
        "--resource", type=_resource, action="append", default=[], metavar="NAME=AMOUNT",
        help="something else of which pods may ask for so much, e.g. nvidia.com/gpu=2",
    )  # fmt: skip
    words.add_argument("--pods", type=_positive, metavar="N", help="pods at a time (default 110)")
    words.add_argument(
        "--pids-max", type=_positive, metavar="N", help="processes and threads of one container (default 1024)"
    )
    words.add_argument(
        "--hide", type=Path, action="append", default=[], metavar="PATH",
        help="what pods must not see, beside the data directory, the kubeconfig and people's homes",
    )  # fmt: skip
    words.add_argument("--on-stop", choices=("keep", "stop"), default="keep", help="what SIGTERM means for the pods")
    words.add_argument("--users", choices=("auto", "off"), default="auto", help="a user id for each pod, if possible")
    words.add_argument(
        "--trusted-keys",
        type=Path,
        metavar="FILE",
        help="run only packs that one of these public keys (PEM) has signed",
    )
    words.add_argument(
        "--disk-pressure-free", type=_percent, metavar="PERCENT",
        help="free part of the disk below which pods are evicted (default 10)",
    )  # fmt: skip
    words.add_argument(
        "--bundle-quota", type=_bytes, metavar="SIZE", help="bytes of bundles kept, beside those in use (default 4Gi)"
    )
    words.add_argument(
        "--bundle-gc-high-threshold", type=_percent, metavar="PERCENT",
        help="used part of the disk from which unused bundles are removed (default 85)",
    )  # fmt: skip
    words.add_argument(
        "--bundle-gc-low-threshold", type=_percent, metavar="PERCENT",
        help="used part of the disk down to which they are removed then (default 80)",
    )  # fmt: skip
    words.add_argument(
        "--no-direct-downloads", action="store_true",
        help="fetch bundles from the API server only, never from the object storage that it points to",
    )  # fmt: skip
    words.add_argument("--log-retention", type=float, metavar="SECONDS", help="how long logs outlive their pods")
    words.add_argument(
        "--backoff", type=float, metavar="SECONDS", help="wait before the second restart (default: the cluster's, 10)"
    )
    words.add_argument(
        "--backoff-max", type=float, metavar="SECONDS", help="longest wait (default: the cluster's, 300)"
    )
    words.add_argument("--version", action="version", version=f"stark-agent {VERSION}")
    return words


def settings_from(args: argparse.Namespace) -> AgentSettings:
    """The settings a command line asks for."""
    settings = AgentSettings(
        data_dir=args.data_dir.resolve(),
        address=args.address,
        port=args.port,
        labels=dict(args.label),
        taints=tuple(args.taint),
        accept_public_packs=args.accept_public_packs,
        cpu_milli=args.cpu,
        memory_mib=args.memory,
        resources=dict(args.resource),
        on_stop=args.on_stop,
        users=args.users,
        trusted_keys=args.trusted_keys,
        direct_downloads=not args.no_direct_downloads,
        hide=tuple(path for path in (args.kubeconfig, *args.hide) if path is not None),
    )
    given = {
        "name": (args.name or os.environ.get("STARK_NODE_NAME") or "").strip().lower() or None,
        "pods_max": args.pods,
        "pids_max": args.pids_max,
        "disk_pressure_free": args.disk_pressure_free,
        "bundle_quota_bytes": args.bundle_quota,
        "bundle_gc_high": args.bundle_gc_high_threshold,
        "bundle_gc_low": args.bundle_gc_low_threshold,
        "log_retention_s": args.log_retention,
        "backoff_initial_s": args.backoff,
        "backoff_max_s": args.backoff_max,
    }
    return replace(settings, **{key: value for key, value in given.items() if value is not None})


async def _joined(settings: AgentSettings, join: JoinSettings | None, kubeconfig: Path | None) -> ClientConfig:
    """Who we are. A certificate that was renewed counts for more than the one in the kubeconfig that it came from."""
    shelf = IdentityShelf(settings.data_dir / "pki")
    if join is not None:
        return await identity_of(settings.name, shelf, join)
    config = load_kubeconfig(kubeconfig)
    kept = shelf.credential("client")
    if kept is None or config.client_cert_data is None or config.client_key_data is None:
        return config
    given = Credential(config.client_cert_data, config.client_key_data)
    user, now = NODE_USER_PREFIX + settings.name, datetime.now(UTC)
    serving = shelf.credential("serving")
    # Both or neither: by the renewed one of a client nobody serves.
    is_good = kept.is_good(user, now) and serving is not None and serving.is_good(user, now)
    if is_good and kept.facts.not_valid_before_utc > given.facts.not_valid_before_utc:
        return config._replace(client_cert_data=kept.certificate_pem, client_key_data=kept.key_pem)
    shelf.forget()
    return config


async def serve(settings: AgentSettings, join: JoinSettings | None, kubeconfig: Path | None) -> None:
    """Run until SIGTERM or SIGINT; a second one ends at once. Raises JoinRefused, ConfigError."""
    config = await _joined(settings, join, kubeconfig)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first_at = 0.0

    def asked() -> None:
        nonlocal first_at
        if not stop.is_set():
            first_at = loop.time()
            stop.set()
        elif loop.time() > first_at + SECOND_SIGNAL_AFTER_S:
            os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    agent = Agent(settings, config)

    async def announce() -> None:
        await agent.registered.wait()
        if join is not None:
            registered = {"nodeId": agent.node_uid, "registeredAt": datetime.now(UTC).isoformat(timespec="seconds")}
            NodeFiles(home()).keep(REGISTERED, config.server, settings.name, registered)
        sys.stdout.write(ready_line(agent) + "\n")
        sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        announcing = group.create_task(announce())
        await agent.run(stop)
        announcing.cancel()


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the program."""
    args = parser().parse_args(argv)
    settings = settings_from(args)
    for problem in dns_subdomain_problems(settings.name):
        parser().error(f"{settings.name!r} is no name for a node (give another one with --name): {problem}")
    if settings.bundle_gc_low >= settings.bundle_gc_high:
        parser().error("--bundle-gc-low-threshold must be below --bundle-gc-high-threshold")
    configure(settings.name)
    try:
        asyncio.run(serve(settings, join_settings(args), args.kubeconfig))
    except* (ConfigError, JoinRefused, InUse, KeysUnusable, OSError) as group:
        for error in group.exceptions:
            log.error("agent cannot run", extra={"error": str(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
