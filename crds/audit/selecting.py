"""Which events of the audit log are wanted, and the form in which they are shown and exported."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

OUTCOMES: Final = ("success", "denied", "failed")
"""`denied`: nobody knew who asked, or they may not (401, 403); `failed`: any other answer from 400 on."""
_SPAN: Final = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SPAN_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked of an event; empty is any."""

    user: str = ""
    """The user who asked, or who was impersonated."""
    verb: str = ""
    resource: str = ""
    """`pods`, `pods/log`, `deployments.apps`."""
    namespace: str = ""
    name: str = ""
    since: str = ""
    """RFC 3339 in UTC, as `moment` writes it."""
    until: str = ""
    outcome: str = ""

    def might_match(self, line: bytes) -> bool:
        """False only for a line that cannot match: saves the decoding of most of a large log."""
        return all(json.dumps(text).encode() in line for text in (self.verb, self.namespace) if text) and (
            not self.user or json.dumps(self.user, ensure_ascii=False).encode() in line
        )

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is wanted."""
        reference = event.get("objectRef") or {}
        users = {(event.get(key) or {}).get("username", "") for key in ("user", "impersonatedUser")}
        at = str(event.get("requestReceivedTimestamp", ""))
        return (
            (not self.user or self.user in users)
            and (not self.verb or event.get("verb") == self.verb)
            and (not self.resource or self.resource in resource_names(reference))
            and (not self.namespace or reference.get("namespace") == self.namespace)
            and (not self.name or reference.get("name") == self.name)
            and (not self.since or at >= self.since)
            and (not self.until or at < self.until)
            and (not self.outcome or outcome_of(event) == self.outcome)
        )


def resource_names(reference: Mapping[str, Any]) -> tuple[str, ...]:
    """The ways to name what an event is about: with its subresource or its group, or without."""
    plural = str(reference.get("resource") or "")
    if not plural:
        return ()
    part = f"/{reference['subresource']}" if reference.get("subresource") else ""
    group = reference.get("apiGroup") or ""
    full = f"{plural}.{group}{part}" if group else plural + part
    return tuple(dict.fromkeys((plural, plural + part, f"{plural}.{group}" if group else plural, full)))


def outcome_of(event: Mapping[str, Any]) -> str:
    """How it ended; empty for an event that is not an end."""
    code = (event.get("responseStatus") or {}).get("code")
    if not isinstance(code, int):
        return ""
    if code in (401, 403):
        return "denied"
    return "failed" if code >= 400 else "success"


def moment(text: str, now: datetime) -> str:
    """From a time (RFC 3339) or a span before now (`90s`, `30m`, `12h`, `7d`). Raises ValueError."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        at = now - timedelta(seconds=int(span[1]) * _SPAN_S[span[2]])
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(
                f"{text!r} is neither a time like 2026-01-31T12:00:00Z nor a span like 30m or 7d"
            ) from error
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_event(record: Mapping[str, Any]) -> bool:
    """Not one of the log's own records."""
    return record.get("kind") == "Event"


COLUMNS: Final = (
    "time", "stage", "user", "impersonatedUser", "verb", "resource", "namespace", "name", "code", "outcome", "sourceIPs",
    "userAgent", "requestURI", "auditID", "decision", "reason", "message",
)  # fmt: skip


def row_of(event: Mapping[str, Any]) -> list[str]:
    """An event in the columns above."""
    reference, status = event.get("objectRef") or {}, event.get("responseStatus") or {}
    notes = event.get("annotations") or {}
    names = resource_names(reference)
    cells = (
        event.get("requestReceivedTimestamp"),
        event.get("stage"),
        (event.get("user") or {}).get("username"),
        (event.get("impersonatedUser") or {}).get("username"),
        event.get("verb"),
        names[-1] if names else "",
        reference.get("namespace"),
        reference.get("name"),
        status.get("code"),
        outcome_of(event),
        " ".join(map(str, event.get("sourceIPs") or ())),
        event.get("userAgent"),
        event.get("requestURI"),
        event.get("auditID"),
        notes.get("authorization.k8s.io/decision"),
        notes.get("authorization.k8s.io/reason"),
        status.get("message"),
    )
    return ["" if cell is None else str(cell) for cell in cells]


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet may take for the beginning of a formula (OWASP, CSV injection), full-width forms too."""


def plain_cell(text: str) -> str:
    """The text so that no spreadsheet computes it: user agents and names are chosen by strangers."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def csv_lines(events: Iterable[Mapping[str, Any]], *, heading: bool = True) -> Iterable[str]:
    """RFC 4180 lines, every cell in quotes and none a formula."""
    if heading:
        yield _csv(COLUMNS)
    for event in events:
        yield _csv([plain_cell(cell) for cell in row_of(event)])


def _csv(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return text.getvalue()
