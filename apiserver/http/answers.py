"""The head of an answer as bytes. What is the same in most of them is made once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from itertools import count
from typing import Final

from ..request import Response, Stream

ID_LENGTH_MAX: Final = 128
"""An id from a client goes into answers and logs; a longer one is replaced."""
PREFIXES_MAX: Final = 256
"""Beginnings of heads that are kept while the date holds, by status and type. There are few; a proxied one could be any."""
NO_LENGTH: Final = frozenset({*range(100, 200), 204, 304})
"""Statuses whose answers never have a body (RFC 9110, sections 15.2 and 15.3.5; 304 says the length of another answer)."""

_CACHE_CONTROL: Final = b"Cache-Control: no-cache, private\r\n"
POLICY: Final = "Content-Security-Policy"
_NO_PAGE: Final = (
    "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
)
"""What a log or an object says is never a page in a browser: it guesses no type, runs nothing and frames nothing."""


class AuditIds:
    """Ids that no two requests share: a random half for the process, and a number. Nobody gains by guessing one."""

    def __init__(self) -> None:
        random = os.urandom(8).hex()
        self._prefix = f"{random[:8]}-{random[8:12]}-4{random[13:16]}-8{os.urandom(2).hex()[1:]}-"
        self._numbers = count(int.from_bytes(os.urandom(4)))

    def new(self) -> str:
        """One more, in the form of a UUID."""
        return f"{self._prefix}{next(self._numbers):012x}"


class AnswerHeads:
    """Makes them for one server, which tells it the date every second."""

    def __init__(self) -> None:
        self._prefixes: dict[tuple[int, str], bytes] = {}
        self._ids = AuditIds()
        self._date = b""

    def tell_date(self, date: str) -> None:
        """What the Date header says from now on."""
        self._date = f"Date: {date}\r\n".encode()
        self._prefixes.clear()

    def head(self, answer: Response | Stream, asked: Mapping[str, str], framing: bytes) -> bytes:
        """Everything up to the empty line; `framing` are the lines about length and connection."""
        given = answer.headers
        prefix = self._prefixes.get((answer.status, answer.content_type))
        if prefix is None:
            prefix = self._new_prefix(answer.status, answer.content_type)
        if POLICY in given:  # a page of ours, which says itself what it may do; two policies would both hold
            prefix = prefix.replace(_NO_PAGE.encode(), b"X-Content-Type-Options: nosniff\r\n")
        audit, correlation = self.ids(asked)
        ids = f"Audit-Id: {audit}\r\nX-Correlation-Id: {correlation}\r\n".encode()
        lines = header_lines(given) if given else b""
        cache = b"" if "Cache-Control" in given else _CACHE_CONTROL
        return b"%b%b%b%b%b\r\n" % (prefix, cache, ids, lines, framing)

    def _new_prefix(self, status: int, content_type: str) -> bytes:
        start = f"{status_line(status)}Content-Type: {_safe(content_type)}\r\n{_NO_PAGE}".encode()
        made = start + self._date
        if len(self._prefixes) < PREFIXES_MAX:
            self._prefixes[(status, content_type)] = made
        return made

    def identify(self, asked: dict[str, str]) -> None:
        """Give a request its id before anybody handles it: the logs and the answer call it the same."""
        given = asked.get("audit-id")
        if given is None or not _usable(given):
            asked["audit-id"] = self._ids.new()
        correlation = asked.get("x-correlation-id")
        if correlation is not None and not _usable(correlation):
            del asked["x-correlation-id"]  # it is nothing that a log should repeat

    def ids(self, asked: Mapping[str, str]) -> tuple[str, str]:
        """What the answer is called, and what it belongs to: as the client wishes, or as we do."""
        audit = _usable(asked.get("audit-id", "")) or self._ids.new()
        return audit, _usable(asked.get("x-correlation-id", "")) or audit


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Whatever the text is, it makes lines, and no more of them than there are headers."""
    return "".join([f"{_safe(name)}: {_safe(value)}\r\n" for name, value in headers.items()]).encode()


def status_line(status: int) -> str:
    """The first line of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    return f"HTTP/1.1 {status} {phrase}\r\n"


def refusal(status: int, reason: str) -> bytes:
    """The whole answer to what is not a request; the connection ends with it."""
    body = f"{reason}\n".encode()
    head = f"{status_line(status)}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _usable(given: str) -> str:
    return given if given and given.isprintable() and len(given) <= ID_LENGTH_MAX else ""


def _safe(text: str) -> str:
    """Without what would end a header and begin another."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)
