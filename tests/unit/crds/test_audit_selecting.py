"""Which events are found, and that nothing in an export is a formula."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stark.crds.audit.chain import ORIGIN, chained
from stark.crds.audit.files import file_name
from stark.crds.audit.reading import read_all, read_page
from stark.crds.audit.selecting import COLUMNS, Selection, csv_lines, moment, plain_cell

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def event(number: int, user: str = "ann", verb: str = "get", code: int = 200, **reference: str) -> dict[str, Any]:
    about = {"resource": "pods", "namespace": "default", "name": f"p{number}", "apiVersion": "v1", **reference}
    return {
        "kind": "Event",
        "auditID": str(number),
        "verb": verb,
        "user": {"username": user},
        "objectRef": about,
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": f"2026-01-31T11:{number:02}:00.000000Z",
    }


EVENTS = [
    event(1),
    event(2, user="bob", verb="delete", code=403),
    event(3, code=404, namespace="kube-system"),
    event(4, resource="deployments", apiGroup="apps"),
    event(5, subresource="log"),
    {**event(6, code=401), "user": {}, "impersonatedUser": {"username": "carl"}},
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    link, lines = ORIGIN, []
    for record in [{"kind": "File"}, *EVENTS]:
        line, link = chained(json.dumps(record, separators=(",", ":")).encode(), link)
        lines.append(line)
    (tmp_path / file_name(1)).write_bytes(b"".join(lines[:4]))
    (tmp_path / file_name(2)).write_bytes(b"".join(lines[4:]))
    return tmp_path


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), "123456"),
        (Selection(user="bob"), "2"),
        (Selection(user="carl"), "6"),
        (Selection(verb="delete"), "2"),
        (Selection(resource="pods"), "12356"),
        (Selection(resource="pods/log"), "5"),
        (Selection(resource="deployments"), "4"),
        (Selection(resource="deployments.apps"), "4"),
        (Selection(namespace="kube-system"), "3"),
        (Selection(name="p1"), "1"),
        (Selection(outcome="denied"), "26"),
        (Selection(outcome="failed"), "3"),
        (Selection(outcome="success"), "145"),
        (Selection(since="2026-01-31T11:05:00.000000Z"), "56"),
        (Selection(until="2026-01-31T11:02:00.000000Z"), "1"),
        (Selection(user="ann", outcome="failed", namespace="default"), ""),
    ],
)
def test_events_are_found_by_what_is_asked_of_them(log: Path, selection: Selection, found: str) -> None:
    assert "".join(each["auditID"] for each in read_all(log, selection)) == found
    newest = read_page(log, selection, limit=100)
    assert ("".join(each["auditID"] for each in newest.events), newest.before) == (found[::-1], 0)


def test_pages_have_every_event_once(log: Path) -> None:
    seen, before = "", 0
    for _ in range(9):
        page = read_page(log, Selection(), limit=2, before=before)
        seen += "".join(each["auditID"] for each in page.events)
        before = page.before
        if not before:
            break
    assert seen == "654321"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("30m", "2026-01-31T11:30:00.000000Z"),
        ("7d", "2026-01-24T12:00:00.000000Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
    ],
)
def test_a_moment_is_a_time_or_a_span_before_now(text: str, at: str) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", "yesterday", "-5m", "5 m"])
def test_anything_else_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="neither a time"):
        moment(text, NOW)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", " ="])
def test_no_cell_of_an_export_is_a_formula(sign: str) -> None:
    assert plain_cell(sign + "1+1") == "'" + sign + "1+1"
    hostile = {**event(1, user=sign + 'cmd|" /C calc"!A0'), "userAgent": sign + "x"}
    heading, row = csv.reader(io.StringIO("".join(csv_lines([hostile])), newline=""))
    assert tuple(heading) == COLUMNS
    assert not [cell for cell in row if cell.lstrip(" ")[:1] in {sign.strip(" "), sign} - {""} and cell]


def test_an_ordinary_cell_stays_as_it_is() -> None:
    assert plain_cell("system:node:n1") == "system:node:n1"
