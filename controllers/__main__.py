"""`stark-controllers [NAME...] --kubeconfig FILE`: run some or all of the controllers against one API server."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from stark.client.config import ConfigError
from stark.client.logs import configure_logging
from stark.crds.version import VERSION

from .app import Settings, run
from .catalog import CATALOG


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Gives the exit code: 0 stopped as asked, 1 failed, 2 usage."""
    settings, log_level = _parse(sys.argv[1:] if argv is None else argv)
    configure_logging("stark-controllers", level=log_level.upper())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run(settings))
    except (ConfigError, OSError) as error:
        print(f"stark-controllers: {error}", file=sys.stderr)  # noqa: T201 - the command's answer to its user
        return 1
    return 0


def _parse(argv: Sequence[str]) -> tuple[Settings, str]:
    parser = argparse.ArgumentParser(prog="stark-controllers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to run (default: all): {', '.join(CATALOG)}")
    parser.add_argument("--kubeconfig", type=Path, help="how to reach the API server (default: as kubectl finds it)")
    parser.add_argument("--context", help="context of the kubeconfig (default: its current one)")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="for /metrics and /healthz")
    parser.add_argument("--no-leader-elect", action="store_true", help="do not lead by Lease; only for one process")
    parser.add_argument("--workers", type=_positive, metavar="N", help="keys of one controller worked on at once")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=f"stark-controllers {VERSION}")
    given = parser.parse_args(argv)
    unknown = [name for name in given.names if name not in CATALOG]
    if unknown:
        parser.error(f"no controller named {', '.join(unknown)}; there are: {', '.join(sorted(CATALOG))}")
    settings = Settings(
        names=tuple(given.names),
        kubeconfig=given.kubeconfig,
        context=given.context,
        listen=given.listen,
        elect=not given.no_leader_elect,
        workers=given.workers,
    )
    return settings, given.log_level


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not built for every platform; asyncio's own loop does the same, slower
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


if __name__ == "__main__":
    raise SystemExit(main())
