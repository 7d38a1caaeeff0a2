"""Where etcd is and how to speak to it: URLs and certificate files become targets and credentials, once, at the start."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import grpc

from .settings import EtcdSettings
from .trouble import EtcdUnusable

DEFAULT_PORT = 2379


@dataclass(frozen=True)
class Access:
    """All that is needed to connect. `urls` are for messages and carry no password."""

    urls: tuple[str, ...]
    targets: tuple[str, ...]
    credentials: Any
    """gRPC's channel credentials; None for plain text."""
    username: str
    password: str = field(repr=False)


def access(settings: EtcdSettings) -> Access:
    """Read the settings' URLs and files. Raises EtcdUnusable."""
    if not settings.urls:
        raise EtcdUnusable("no etcd URL was given: use etcd=http://HOST:2379")
    parts = [_split(url) for url in settings.urls]
    if len({part.scheme for part in parts}) > 1:
        raise EtcdUnusable("the URLs of etcd mix http and https: use one of them for all members")
    secure = parts[0].scheme == "https"
    if not secure and (settings.certfile or settings.cafile):
        raise EtcdUnusable("certificates for etcd are given, but its URLs begin with http: use https")
    username = settings.username or next((unquote(part.username) for part in parts if part.username), "")
    password = settings.password or next((unquote(part.password) for part in parts if part.password), "")
    hosts = [(str(part.hostname), part.port or DEFAULT_PORT) for part in parts]
    return Access(
        tuple(f"{part.scheme}://{_bracketed(host)}:{port}" for part, (host, port) in zip(parts, hosts, strict=True)),
        tuple(_target(host, port) for host, port in hosts),
        _credentials(settings) if secure else None,
        username,
        password,
    )


def _split(url: str) -> SplitResult:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.path.strip("/") or parts.query:
        # Not the URL itself: there may be a password in it.
        raise EtcdUnusable("an etcd URL cannot be understood: use http://HOST:PORT or https://HOST:PORT")
    return parts


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _target(host: str, port: int) -> str:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return f"dns:///{host}:{port}"
    return f"ipv{version}:{_bracketed(host)}:{port}"


def _credentials(settings: EtcdSettings) -> Any:
    if (settings.certfile is None) != (settings.keyfile is None):
        raise EtcdUnusable("--etcd-certfile and --etcd-keyfile belong together: give both or neither")
    return grpc.ssl_channel_credentials(
        _read(settings.cafile), private_key=_read(settings.keyfile), certificate_chain=_read(settings.certfile)
    )


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path is not None else None
    except OSError as error:
        raise EtcdUnusable(f"{path} cannot be read ({error.strerror}): check the --etcd-*file flags") from error
