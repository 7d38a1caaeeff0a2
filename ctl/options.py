"""The options every command has, and the context they make: which server, as whom, in which namespace."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from .errors import UsageError

if TYPE_CHECKING:
    from .home import Home
    from .http import Api
    from .resources import Catalog

GLOBAL_WITH_VALUE = (
    "--kubeconfig",
    "--context",
    "-n",
    "--namespace",
    "--server",
    "--ca-file",
    "--token",
    "--as",
    "--as-group",
    "--as-uid",
    "--as-user-extra",
    "--request-timeout",
)
GLOBAL_FLAGS = ("-k", "--insecure", "--no-color")


class Parser(argparse.ArgumentParser):
    """argparse, except that a wrong command line is an exception with a sentence, and help is not abbreviated."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def add_global_options(parser: argparse.ArgumentParser, *, short_namespace: bool = True) -> None:
    """Where the server is and who is asking; the same on every command.

    `short_namespace` False leaves `-n` free, for commands about things that live in no namespace (`pack register -n NAME`).
    """
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="kubeconfig to use (default: $KUBECONFIG, then the login in ~/.stark, then ~/.kube/config)",
    )
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig to use")
    names = ("-n", "--namespace") if short_namespace else ("--namespace",)
    group.add_argument(*names, metavar="NAME", help="namespace (default: the context's, then `default`)")
    group.add_argument(
        "--server", metavar="URL", help="API server, e.g. https://127.0.0.1:6443, instead of the kubeconfig's"
    )
    group.add_argument("--ca-file", metavar="FILE", help="trust this CA certificate (PEM) and no other")
    group.add_argument(
        "--token", metavar="TOKEN", help="bearer token to identify with, instead of the kubeconfig's identity"
    )
    group.add_argument("--as", dest="as_user", default="", metavar="USER", help="act as this user, if you may")
    group.add_argument(
        "--as-group", action="append", default=[], metavar="GROUP", help="with --as: in this group, may be repeated"
    )
    group.add_argument("--as-uid", default="", metavar="UID", help="with --as: with this uid")
    group.add_argument(
        "--as-user-extra", action="append", default=[], metavar="KEY=VALUE", help="with --as: with this extra value"
    )
    group.add_argument(
        "-k", "--insecure", action="store_true", help="do not check the server's certificate (last resort)"
    )
    group.add_argument("--no-color", action="store_true", help="no colours, as with $NO_COLOR")
    group.add_argument(
        "--request-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=30.0,
        help="longest wait for an answer (default 30)",
    )


def _seconds(text: str) -> float:
    try:
        value = float(text.removesuffix("s"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if value <= 0:
        raise argparse.ArgumentTypeError("must be more than 0 seconds")
    return value


def split_command(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The command's name and its arguments, with global options that stood before the name moved behind it."""
    before: list[str] = []
    rest = list(argv)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        before.append(option)
        if option in GLOBAL_WITH_VALUE:
            if not rest:
                raise UsageError(f"{option} needs a value")
            before.append(rest.pop(0))
        elif option not in GLOBAL_FLAGS and option.partition("=")[0] not in GLOBAL_WITH_VALUE:
            return None, [option, *rest]
    return (rest[0], [*before, *rest[1:]]) if rest else (None, before)


class Session:
    """What a command works with, made when it is first asked for: the connection, the namespace, the known kinds."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self._api: Api | None = None
        self._opened: list[Api] = []
        self._catalog: Catalog | None = None
        self._home: Home | None = None

    @property
    def api(self) -> Api:
        """The connection to the server the options name. Raises CommandError when none can be found."""
        if self._api is None:
            self._api = self.keep(self._connect())
        return self._api

    def keep(self, api: Api) -> Api:
        """Close this one, too, when the command is over."""
        self._opened.append(api)
        return api

    def close(self) -> None:
        """The command is over."""
        for api in self._opened:
            api.close()

    @property
    def namespace(self) -> str:
        """`-n`, else the context's, else `default`."""
        return self.args.namespace or self.api.config.namespace or "default"

    @property
    def catalog(self) -> Catalog:
        """The kinds the server serves."""
        if self._catalog is None:
            from .resources import Catalog

            self._catalog = Catalog(self.api)
        return self._catalog

    @property
    def home(self) -> Home:
        """The user's own directory."""
        if self._home is None:
            from .home import Home

            self._home = Home()
        return self._home

    def form(self, asked: str | None) -> str:
        """How a list is shown: as asked, else as ~/.stark/config.json says, else as a table."""
        return asked or self.home.config().default_output_format or "table"

    def _connect(self) -> Api:
        from .finding import connect

        return connect(self.args, self.home)
