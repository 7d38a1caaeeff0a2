"""What becomes of a session when one of its refresh tokens is shown: the rules of rotation, without clock or store.

Every token is good for one exchange (RFC 9700 section 4.14.2). The one before the newest is answered with the newest once
more for a few seconds, since an answer may be lost and two programs of one user may ask at the same time; any other that
was used before shows that somebody has a copy, and nobody can tell who: the session ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

REUSE_WINDOW_S: Final = 10.0
"""How long after an exchange the same token may be shown again."""


@dataclass(frozen=True, slots=True)
class Session:
    """One login, from then on. Times are seconds since 1970."""

    email: str
    began_s: float
    ends_s: float
    """Whatever happens, it is over then."""
    generation: int = 1
    """Number of the refresh token that is good."""
    rotated_s: float = 0.0
    """When that one was given out."""
    address: str = ""
    """Where the login came from."""
    agent: str = ""
    """What program it was."""

    def encode(self) -> bytes:
        """As it is stored."""
        return orjson.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def decode(cls, data: bytes) -> Session:
        """From what is stored; fields of later versions are passed over. What cannot be read is a session that is over."""
        try:
            fields: dict[str, Any] = orjson.loads(data)
            return cls(**{name: fields[name] for name in cls.__slots__ if name in fields})
        except (ValueError, TypeError):
            # One spoiled record must not keep everybody else from logging in.
            return cls("", 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rotated:
    """Give out the session's token, and remember the session so."""

    session: Session


@dataclass(frozen=True, slots=True)
class Repeated:
    """Give out the session's token once more; nothing changes."""

    session: Session


@dataclass(frozen=True, slots=True)
class Over:
    """The session is at its end; `reused`: because a token was shown that had been exchanged before."""

    reused: bool


def show(session: Session, generation: int, now_s: float, idle_max_s: float) -> Rotated | Repeated | Over:
    """What to do when the genuine token of that number is shown at that moment."""
    if now_s >= session.ends_s or now_s - session.rotated_s >= idle_max_s:
        return Over(reused=False)
    if generation == session.generation:
        return Rotated(replace(session, generation=generation + 1, rotated_s=now_s))
    if generation == session.generation - 1 and now_s - session.rotated_s <= REUSE_WINDOW_S:
        return Repeated(session)
    # A number that was not given out yet can only come from before the store was put back to an older state: the same.
    return Over(reused=True)
