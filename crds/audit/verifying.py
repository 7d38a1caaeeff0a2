"""Is the audit log whole? Every file that should be there, every line in its place, the end where the head says it is.

Reads files and nothing else, so it works as well on copies, far from the server. Says where the chain breaks, and goes on
behind the break, so that one edited line is not taken for a log that is worthless from there on.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from .chain import API_VERSION, ORIGIN, Link, follows, unchained
from .files import file_name, lines_from, numbers_in
from .head import HEAD_NAME, Head, Statement, read_head, statement_of

PROBLEMS_MAX: Final = 50
"""What is told of a log that is broken everywhere."""


def fingerprint(public_key: bytes) -> str:
    """Of the key a log is signed with, to be compared with what was noted when the cluster was made."""
    return f"SHA256:{base64.b64encode(sha256(public_key).digest()).decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a place in the log."""

    file: str
    line: int
    """From 1; 0 is the file as a whole."""
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}"


@dataclass(slots=True)
class Verdict:
    """What was found out about a log."""

    problems: list[Finding] = field(default_factory=list)
    """Each means that the log is not what was written."""
    notices: list[Finding] = field(default_factory=list)
    """What the log says about itself, and what an operator should know: repairs after a crash, requests refused."""
    files: int = 0
    records: int = 0
    events: int = 0
    link: Link = ORIGIN
    """The last line's place."""
    log: str = ""
    public_key: bytes = b""

    @property
    def is_whole(self) -> bool:
        """Nothing is missing, changed, moved or added."""
        return not self.problems

    def to_wire(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "whole": self.is_whole,
            "log": self.log,
            "files": self.files,
            "records": self.records,
            "events": self.events,
            "end": str(self.link),
            "key": fingerprint(self.public_key),
            "problems": [str(each) for each in self.problems],
            "notices": [str(each) for each in self.notices],
        }


def verify(directory: Path, *, public_key: bytes | None = None, expected: tuple[Link, ...] = ()) -> Verdict:
    """Look at the whole log. `public_key` is the one it must be signed with, by default the one it names itself;
    `expected` are places noted earlier, which it must still have unless retention has deleted them. Raises OSError."""
    return _Check(directory, public_key, expected).run()


class _Check:
    """One look at one log."""

    def __init__(self, directory: Path, public_key: bytes | None, expected: tuple[Link, ...]) -> None:
        self._directory, self._trusted = directory, public_key
        self._expected = {link.seq: link for link in expected}
        self._verdict = Verdict()
        self._before: Link | None = None
        """None until the first line has told where the log begins."""

    def run(self) -> Verdict:
        """The verdict."""
        verdict = self._verdict
        head = read_head(self._directory)
        numbers = numbers_in(self._directory)
        if head is None:
            self._complain(HEAD_NAME, 0, "is missing or unreadable: nothing vouches for the end of the log")
        else:
            self._check_head(head)
        oldest = head.signed.oldest if head is not None else min(numbers, default=1)
        newest = max([*numbers, *([head.file] if head is not None else [])], default=0)
        there = set(numbers)
        for number in range(oldest, newest + 1):
            name = file_name(number)
            if number not in there:
                self._complain(name, 0, "the file is missing")
                continue
            verdict.files += 1
            self._check_file(name, number, is_last=number == newest)
        for number in sorted(there):
            if number < oldest:
                self._notice(file_name(number), 0, "older than the log keeps: not looked at")
        self._check_end(head)
        return verdict

    def _check_head(self, head: Head) -> None:
        signed, verdict = head.signed, self._verdict
        verdict.log, verdict.public_key = signed.log, signed.public_key
        self._check_signature(HEAD_NAME, 0, signed)
        self._expect(signed.link)
        self._expect(head.link)

    def _expect(self, link: Link) -> None:
        known = self._expected.setdefault(link.seq, link)
        if known != link:
            self._complain(HEAD_NAME, 0, f"says {link}, but {known} was noted")

    def _check_signature(self, name: str, line: int, signed: Statement) -> None:
        if self._trusted is not None and signed.public_key != self._trusted:
            self._complain(name, line, "is signed with another key than the one given")
        elif not signed.is_genuine(signed.public_key):
            self._complain(name, line, "the signature is false: it was not written by the holder of the log's key")

    def _check_file(self, name: str, number: int, *, is_last: bool) -> None:
        for line in lines_from(self._directory / name):
            if not line.text.endswith(b"\n"):
                message = (
                    "the last line is not complete: the server died while it wrote, and will repair it when it starts"
                )
                if is_last:
                    self._notice(name, line.number, message)
                else:
                    self._complain(name, line.number, "the file ends within a line")
                return
            self._check_line(name, line.number, line.text, number)

    def _check_line(self, name: str, at: int, text: bytes, file: int) -> None:
        parsed, verdict = unchained(text), self._verdict
        verdict.records += 1
        if parsed is None:
            self._complain(name, at, "is no line of an audit log: it was changed or put in")
            return
        body, claimed = parsed
        own = _own_record(body)
        if at == 1:
            self._check_beginning(name, own, file, claimed)
        before = self._before
        assert before is not None, name
        if not follows(body, claimed, before):
            self._complain(name, at, _difference(claimed, before))
        known = self._expected.pop(claimed.seq, None)
        if known is not None and known.digest != claimed.digest:
            self._complain(name, at, f"record {claimed.seq} is another than the one that was vouched for: rewritten")
        self._before = verdict.link = claimed
        if own is None:
            verdict.events += 1
        else:
            self._check_own(name, at, own, before)

    def _check_beginning(self, name: str, own: dict[str, Any] | None, file: int, claimed: Link) -> None:
        """Of a file: it says what it follows."""
        after = _after(own)
        if own is None or own.get("kind") != "File" or own.get("file") != file or after is None:
            self._complain(name, 1, "is not the beginning of this file")
            after = self._before or Link(claimed.seq - 1, bytes(32))
        log, verdict = str((own or {}).get("log") or ""), self._verdict
        verdict.log = verdict.log or log
        if log and log != verdict.log:
            self._complain(name, 1, f"belongs to another log ({log})")
        if own is not None and own.get("broken"):
            self._complain(name, 1, f"the server found the log broken when it started: {own['broken']}")
        if self._before is not None and self._before != after:
            self._complain(name, 1, _gap(self._before, after))
        self._before = after

    def _check_own(self, name: str, at: int, own: dict[str, Any], before: Link) -> None:
        kind = own.get("kind")
        if kind == "Seal":
            signed = statement_of(own.get("signed"))
            if signed is None or signed.link != before or (self._verdict.log and signed.log != self._verdict.log):
                self._complain(name, at, "the seal does not belong to this file")
            else:
                self._verdict.public_key = self._verdict.public_key or signed.public_key
                if signed.public_key != self._verdict.public_key:
                    self._complain(name, at, "the seal was made with another key")
                self._check_signature(name, at, signed)
        elif kind == "Repair":
            self._notice(
                name, at, f"repaired after a crash: {own.get('bytes')} bytes of an incomplete line were taken away"
            )
        elif kind == "Refusals":
            self._notice(name, at, f"{own.get('count')} requests were refused unrecorded: {own.get('reason')}")

    def _check_end(self, head: Head | None) -> None:
        first = self._verdict.records and self._verdict.link.seq - self._verdict.records + 1
        end = self._verdict.link.seq
        for link in self._expected.values():
            if link.seq > end:
                by_head = head is not None and link in (head.link, head.signed.link)
                witness = "the head vouches for" if by_head else "you have noted"
                name = file_name(head.file) if head is not None else HEAD_NAME
                message = f"the log ends with record {end}, but {witness} record {link.seq}: the end was cut off"
                self._complain(name, 0, message)
            elif link.seq < first:
                self._notice(HEAD_NAME, 0, f"record {link.seq} is older than what the log keeps")

    def _complain(self, file: str, line: int, message: str) -> None:
        if len(self._verdict.problems) < PROBLEMS_MAX:
            self._verdict.problems.append(Finding(file, line, message))

    def _notice(self, file: str, line: int, message: str) -> None:
        if len(self._verdict.notices) < PROBLEMS_MAX:
            self._verdict.notices.append(Finding(file, line, message))


_OWN_MARK: Final = f'"apiVersion":"{API_VERSION}"'.encode()


def _own_record(body: bytes) -> dict[str, Any] | None:
    """One of the log's own records; None for an event."""
    if _OWN_MARK not in body[:120]:
        return None
    try:
        record = json.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _after(own: dict[str, Any] | None) -> Link | None:
    try:
        after = (own or {})["after"]
        return Link(int(after["seq"]), bytes.fromhex(after["hash"]))
    except (KeyError, TypeError, ValueError):
        return None


def _difference(claimed: Link, before: Link) -> str:
    expected = before.seq + 1
    if claimed.seq == expected:
        return f"record {claimed.seq} was changed, or the one before it: its hash does not fit"
    if claimed.seq > expected:
        missing = _range(expected, claimed.seq - 1)
        return f"the chain breaks: after record {before.seq} comes {claimed.seq}; {missing} missing"
    return f"the chain breaks: after record {before.seq} comes {claimed.seq}: moved, repeated or put in"


def _gap(before: Link, after: Link) -> str:
    if after.seq > before.seq:
        return f"the chain breaks: {_range(before.seq + 1, after.seq)} missing at the end of the file before"
    return f"the chain breaks: the file before ends with record {before.seq}, but this one follows {after}"


def _range(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
