"""Tables look as kubectl's do, also while a watch brings them row by row; objects are described in words."""

from __future__ import annotations

from typing import Any

import pytest

from stark.ctl.describing import describe
from stark.ctl.output import TablePrinter, text_table, to_yaml
from stark.ctl.verbs.logs import seconds

COLUMNS = [{"name": "Name", "priority": 0}, {"name": "Status", "priority": 0}, {"name": "Node", "priority": 1}]


def table(*rows: list[Any]) -> dict[str, Any]:
    return {
        "columnDefinitions": COLUMNS,
        "rows": [{"cells": row, "object": {"metadata": {"namespace": "ns"}}} for row in rows],
    }


def test_columns_of_priority_one_are_for_wide(capsys: pytest.CaptureFixture[str]) -> None:
    TablePrinter().print(table(["a", "Running", "n1"]))
    TablePrinter(wide=True).print(table(["a", "Running", None]))
    assert capsys.readouterr().out == "NAME   STATUS\na      Running\nNAME   STATUS    NODE\na      Running   <none>\n"


def test_plain_is_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    TablePrinter(plain=True).print(table(["a", "Running", "n1"], ["long-name", "two\nlines", None]))
    assert capsys.readouterr().out == "a\tRunning\nlong-name\ttwo lines\n"
    assert text_table(["A", "B"], [["1", "x\ty"]], plain=True) == "1\tx y\n"


def test_a_watch_prints_the_heading_once_and_keeps_its_widths(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TablePrinter(namespace_column=True)
    printer.print(table(["long-name", "Pending", ""]))
    printer.print({"rows": table(["a", "Running", ""])["rows"]})
    assert capsys.readouterr().out.splitlines() == [
        "NAMESPACE   NAME        STATUS",
        "ns          long-name   Pending",
        "ns          a           Running",
    ]


def test_a_value_with_several_lines_stays_in_its_cell(capsys: pytest.CaptureFixture[str]) -> None:
    TablePrinter(headings=False).print(table(["a", "two\nlines", ""]))
    assert capsys.readouterr().out == "a   two lines\n"


def test_what_others_have_written_gives_the_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    hostile, shown = "Eve\x1b[2J\r\x9b8m\x7f", "Eve^[[2J^M\\x9b8m^?"
    TablePrinter(headings=False).print(table([hostile, "b", ""]))
    assert capsys.readouterr().out == f"{shown}   b\n"
    forged = text_table(["ID", "NAME"], [["1", f"{hostile}\n2   Ada"]], headings=False)
    assert forged == f"1   {shown} 2   Ada\n"
    assert text_table(["ID"], [[hostile]], plain=True) == f"{shown}\n"
    metadata = {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"a": hostile}}
    assert shown in describe({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": metadata}, None)


def test_yaml_keeps_the_order_and_shows_lines_as_lines() -> None:
    assert (
        to_yaml({"kind": "A", "data": {"x": "1\n2\n"}, "b": "yes"})
        == "kind: A\ndata:\n  x: |\n    1\n    2\nb: 'yes'\n"
    )


def test_an_empty_table_of_ours_is_its_heading() -> None:
    assert text_table(["A", "B"], []) == "A   B\n"


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("500ms", 0.5)])
def test_durations_are_read(text: str, value: float) -> None:
    assert seconds(text) == value


def test_a_secret_is_described_by_its_sizes_only() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "data": {"key": "czNjcmV0"},
    }
    text = describe(secret, [])
    assert "czNjcmV0" not in text
    assert "6 bytes" in text
    assert text.endswith("Events:          <none>\n")


def test_a_pod_is_described_with_the_reason_of_its_last_end() -> None:
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T00:00:00Z"}}
    status = {"name": "c", "ready": False, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "c", "image": "pack.stark/c:1.0.0"}], "nodeName": "n1"},
        "status": {"phase": "Running", "containerStatuses": [{**status, "lastState": ended}]},
    }
    text = describe(pod, None)
    for part in ("pack.stark/c:1.0.0", "CrashLoopBackOff", "OOMKilled", "ExitCode: 137", "Restart Count", "n1/"):
        assert part in text
    assert "Events" not in text
