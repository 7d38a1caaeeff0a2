"""The environment variables of the original server, which a machine that ran it has set: those that mean something here are
defaults of our flags, and of the others whoever starts us is told that they mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

LISTEN: Final = ("127.0.0.1", 6443)
"""Where we listen unless told; only this machine reaches it."""
ORIGINS: Final = "CORS_ORIGINS"
HOST, PORT, LEVEL = "HOST", "PORT", "LOG_LEVEL"
CERTIFICATE, KEY = "SSL_CERT", "SSL_KEY"
LEVELS: Final = ("debug", "info", "warn", "error")
PORT_MAX: Final = 65_535
IDLE: Final[Mapping[str, str]] = {
    "SUPABASE_URL": "objects are kept in --store, and people log in here",
    "SUPABASE_ANON_KEY": "objects are kept in --store, and people log in here",
    "NODE_ENV": "the server is as strict everywhere as in production",
    "HTTP_PORT": "there is one port, and it speaks TLS",
    "EXPOSE_HTTP": "there is one port, and it speaks TLS",
}
"""What each is instead."""


class Defaults(NamedTuple):
    """What the environment says our flags are when they are not given."""

    listen: str
    origins: str
    level: str
    certificate: tuple[Path, Path] | None
    """A certificate with its chain, and its key."""


def defaults(environment: Mapping[str, str]) -> Defaults:
    """Raises ValueError naming the variable that will not do."""
    host, port = environment.get(HOST) or LISTEN[0], environment.get(PORT) or str(LISTEN[1])
    if not port.isdecimal() or not port.isascii() or int(port[:6]) > PORT_MAX:
        raise ValueError(f"${PORT} must be a number from 0 to {PORT_MAX}, not {port!r}")
    level = (environment.get(LEVEL) or "info").lower()
    if level not in LEVELS:
        raise ValueError(f"${LEVEL} must be one of {', '.join(LEVELS)}, not {level!r}")
    certificate, key = environment.get(CERTIFICATE), environment.get(KEY)
    if bool(certificate) != bool(key):
        raise ValueError(f"${CERTIFICATE} and ${KEY} belong together: set both or neither")
    address = f"[{host}]" if ":" in host else host
    pair = (Path(certificate), Path(key)) if certificate and key else None
    return Defaults(f"{address}:{port}", environment.get(ORIGINS, ""), level, pair)


def idle(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence about each variable that is set and means nothing."""
    for name, instead in IDLE.items():
        if environment.get(name):
            yield f"${name} is set and means nothing here: {instead}"
