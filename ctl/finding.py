"""Which server a command talks to, and as whom: the command line, a kubeconfig that was named, ~/.stark, ~/.kube/config.

A kubeconfig is named by --kubeconfig, --context or $KUBECONFIG and wins over ~/.stark, because it was asked for; ~/.stark
wins over ~/.kube/config, because somebody logged in. The login goes only to the server that gave it.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from stark.client.config import ClientConfig, ConfigError, Impersonation, load_kubeconfig

from .errors import CommandError, UsageError
from .home import Home, HomeConfig
from .http import CONNECT_TIMEOUT_S, Api
from .identity import FromProgram, Given

if TYPE_CHECKING:
    from .identity import Identity
    from .login import LoggedIn

LOCAL_SERVER = "https://127.0.0.1:6443"
"""Where `starkctl up` listens; what somebody logs in to who names no server and has none configured."""


def connect(args: argparse.Namespace, home: Home) -> Api:
    """The server that the options name, as whom they say. Raises CommandError."""
    config = locate(args, home)
    login = None
    if args.token:
        config = as_nobody(config)._replace(token=args.token)
    elif not _has_own(config):
        login = logged_in(args, home, config)
    config = config._replace(impersonate=_acting(args, config.impersonate))
    return Api(config, login or _identity(config), timeout_s=args.request_timeout)


def stranger(args: argparse.Namespace, home: Home, *, default: str = "") -> Api:
    """The same server, as nobody: to log in. `default` is taken when no server is named anywhere."""
    config = as_nobody(locate(args, home, default=default))
    return Api(config, timeout_s=args.request_timeout)


def locate(args: argparse.Namespace, home: Home, *, default: str = "") -> ClientConfig:
    """Where the server is, and what the kubeconfig says about who we are. Raises CommandError."""
    config = _located(args, home, default)
    if args.server:
        config = config._replace(server=args.server.rstrip("/"))
    if args.ca_file:
        config = config._replace(ca_data=read_authority(args.ca_file))
    if args.insecure:
        config = config._replace(insecure=True)
    return config


def as_nobody(config: ClientConfig) -> ClientConfig:
    """The same server without any identity."""
    return config._replace(
        token=None,
        token_file=None,
        client_cert_data=None,
        client_key_data=None,
        exec_plugin=None,
        impersonate=Impersonation(),
    )


def logged_in(args: argparse.Namespace, home: Home, config: ClientConfig) -> LoggedIn | None:
    """The login at the server of `config`, if there is one."""
    if _names_kubeconfig(args):
        return None
    credentials = home.credentials()
    if credentials is None or credentials.api_url != config.server:
        return None
    from .login import LoggedIn

    return LoggedIn(home, credentials, as_nobody(config), timeout_s=args.request_timeout)


def kept_login(home: Home, *, insecure: bool = False, authority: bytes | None = None) -> LoggedIn | None:
    """The login at whatever server it is, if there is one."""
    credentials = home.credentials()
    if credentials is None:
        return None
    from .login import LoggedIn

    known = home.config()
    if authority is None and known.api_url == credentials.api_url:
        authority = home.authority(known)
    config = ClientConfig(server=credentials.api_url, ca_data=authority, insecure=insecure)
    return LoggedIn(home, credentials, config, timeout_s=CONNECT_TIMEOUT_S)


def _located(args: argparse.Namespace, home: Home, default: str) -> ClientConfig:
    if not _names_kubeconfig(args):
        known = home.config()
        if args.server and args.server.rstrip("/") != known.api_url:
            return ClientConfig(server=args.server)
        if known.api_url:
            return _of_home(home, known)
    try:
        return load_kubeconfig(args.kubeconfig, context=args.context)
    except ConfigError as error:
        if default and not _names_kubeconfig(args):
            return ClientConfig(server=default)
        hint = "" if _names_kubeconfig(args) else "; or log in with `starkctl auth login`"
        raise CommandError(f"{error}{hint}") from error


def _of_home(home: Home, known: HomeConfig) -> ClientConfig:
    return ClientConfig(
        server=known.api_url,
        namespace=known.default_namespace or "default",
        ca_data=home.authority(known),
        source=str(home.config_file),
    )


def _names_kubeconfig(args: argparse.Namespace) -> bool:
    return bool(args.kubeconfig or args.context or os.environ.get("KUBECONFIG"))


def _has_own(config: ClientConfig) -> bool:
    return bool(config.token or config.token_file or config.client_cert_data or config.exec_plugin)


def _identity(config: ClientConfig) -> Identity:
    if config.exec_plugin is None or config.token or config.token_file or config.client_cert_data:
        return Given(config)
    from stark.client.exec_plugins import ExecSource

    return FromProgram(ExecSource(config.exec_plugin))


def _acting(args: argparse.Namespace, configured: Impersonation) -> Impersonation:
    extra: list[tuple[str, str]] = []
    for item in args.as_user_extra:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--as-user-extra {item!r} is not KEY=VALUE")
        extra.append((key, value))
    asked = Impersonation(args.as_user, tuple(args.as_group), args.as_uid, tuple(extra))
    if any(asked) and not asked.user:
        raise UsageError("--as-group, --as-uid and --as-user-extra need --as: say whom to act as")
    return asked if asked.user else configured


def read_authority(path: str | None) -> bytes | None:
    """What --ca-file names, if it was given. Raises CommandError."""
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
