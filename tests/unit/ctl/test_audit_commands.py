"""`starkctl audit` on files: what it finds, what it exports, and the exit code of a log that is not whole."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from stark.apiserver.audit.journal import Journal
from stark.apiserver.audit.settings import AuditSettings
from stark.apiserver.audit.signing import Signer
from stark.crds.audit.files import file_name
from stark.ctl.__main__ import main


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "pki").mkdir()
    journal = Journal(tmp_path / "audit", AuditSettings(reserve_bytes=0), Signer.open(tmp_path / "pki"))
    journal.open({})
    for number, (user, verb, code) in enumerate([("ann", "get", 200), ("bob", "delete", 403), ("=ann", "get", 404)]):
        event = {
            "kind": "Event",
            "stage": "ResponseComplete",
            "verb": verb,
            "user": {"username": user},
            "objectRef": {"resource": "pods", "namespace": "default", "name": f"p{number}\x1b[2J"},
            "responseStatus": {"code": code},
            "requestReceivedTimestamp": f"2026-01-31T11:0{number}:00.000000Z",
        }
        journal.keep([json.dumps(event, separators=(",", ":")).encode()])
    journal.close()
    return tmp_path / "audit"


def test_list_shows_the_newest_first_and_never_moves_the_cursor(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "list", "--files", str(log)]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["TIME", "USER", "VERB"]
    assert [row.split()[1] for row in rows] == ["=ann", "bob", "ann"]
    assert "\x1b" not in "".join(rows)


def test_list_finds_and_bounds(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "list", "--files", str(log), "--outcome", "denied", "-o", "json"]) == 0
    assert [each["user"]["username"] for each in json.loads(capsys.readouterr().out)["items"]] == ["bob"]
    assert main(["audit", "list", "--files", str(log), "--limit", "1", "--no-headers"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_export_writes_json_and_csv_for_nobody_else(log: Path, tmp_path: Path) -> None:
    paths = {form: tmp_path / f"events.{form}" for form in ("json", "csv")}
    for form, path in paths.items():
        assert main(["audit", "export", "--files", str(log), "--format", form, "-f", str(path)]) == 0
        assert path.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(paths["json"].read_text())) == 3
    rows = list(csv.DictReader(io.StringIO(paths["csv"].read_text(), newline="")))
    assert [row["user"] for row in rows] == ["'=ann", "bob", "ann"]


def test_verify_says_whole_and_otherwise_where(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = ["--public-key", str(log.parent / "pki" / "audit-signing.pub")]
    assert main(["audit", "verify", str(log), *key, "-o", "json"]) == 0
    end = json.loads(capsys.readouterr().out)["end"]
    assert main(["audit", "verify", str(log), "--expect", end]) == 0
    path = log / file_name(1)
    path.write_bytes(path.read_bytes().replace(b'"bob"', b'"eve"'))
    capsys.readouterr()
    assert main(["audit", "verify", str(log)]) == 1
    out = capsys.readouterr().out
    assert "problem  audit-00000001.log:4: record 4 was changed" in out
    assert "NOT WHOLE" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["audit", "list", "--since", "never", "--files", "x"], 2, "neither a time"),
        (["audit", "list", "--limit", "0"], 2, "--limit must be 1"),
        (["audit", "verify", "/nonexistent"], 1, "cannot be read"),
        (["audit", "verify", "."], 1, "there is no audit log"),
        (["audit", "verify", ".", "--expect", "1"], 2, "is not SEQ:HASH"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    assert says in capsys.readouterr().err
