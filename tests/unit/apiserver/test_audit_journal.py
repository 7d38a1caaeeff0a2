"""The audit log's files: what was written is found whole, and whatever was done to it afterwards is found out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stark.apiserver.audit.errors import JournalHeld
from stark.apiserver.audit.journal import Journal
from stark.apiserver.audit.settings import AuditSettings
from stark.apiserver.audit.signing import Signer
from stark.crds.audit.chain import ORIGIN, chained, parse_link, unchained
from stark.crds.audit.files import file_name, lines_back, lines_from, numbers_in
from stark.crds.audit.verifying import Verdict, verify

SMALL = AuditSettings(file_bytes_max=2_000, files_max=0, age_max_days=0, reserve_bytes=4096)


def event(number: int) -> bytes:
    return json.dumps({"kind": "Event", "auditID": str(number), "text": "x" * 100}).encode()


def opened(directory: Path, settings: AuditSettings = SMALL) -> Journal:
    (directory / "pki").mkdir(exist_ok=True)
    journal = Journal(directory / "audit", settings, Signer.open(directory / "pki"))
    journal.open({})
    return journal


def written(directory: Path, count: int = 40, settings: AuditSettings = SMALL) -> Path:
    journal = opened(directory, settings)
    for number in range(count):
        journal.write([event(number)])
        journal.sync()
        journal.settle()
    journal.close()
    return directory / "audit"


def ids(log: Path) -> list[str]:
    lines = [line.text for number in numbers_in(log) for line in lines_from(log / file_name(number))]
    return [found["auditID"] for found in map(json.loads, lines) if found["kind"] == "Event"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_a_log_that_nobody_touched_is_whole_over_many_files_and_starts(tmp_path: Path) -> None:
    written(tmp_path, 20)
    log = written(tmp_path, 20)
    verdict = verify(log)
    assert (verdict.problems, verdict.notices, verdict.events) == ([], [], 40)
    assert verdict.files > 3
    kinds = [json.loads(line.text)["kind"] for n in numbers_in(log) for line in lines_from(log / file_name(n))]
    assert (kinds.count("Start"), kinds.count("Stop"), kinds.count("File")) == (2, 2, verdict.files)


def lines_of(log: Path, number: int) -> list[bytes]:
    return (log / file_name(number)).read_bytes().splitlines(keepends=True)


def put(log: Path, number: int, lines: list[bytes]) -> None:
    (log / file_name(number)).write_bytes(b"".join(lines))


def edited(log: Path) -> None:
    lines = lines_of(log, 2)
    put(log, 2, [*lines[:3], lines[3].replace(b"xxx", b"xyx"), *lines[4:]])


def without_a_line(log: Path) -> None:
    lines = lines_of(log, 2)
    put(log, 2, lines[:3] + lines[4:])


def swapped(log: Path) -> None:
    lines = lines_of(log, 2)
    put(log, 2, [*lines[:3], lines[4], lines[3], *lines[5:]])


def repeated(log: Path) -> None:
    lines = lines_of(log, 2)
    put(log, 2, [*lines[:4], lines[3], *lines[4:]])


def with_a_strange_line(log: Path) -> None:
    lines = lines_of(log, 2)
    put(log, 2, [*lines[:3], b'{"kind":"Event"}\n', *lines[3:]])


def cut_off(log: Path) -> None:
    newest = numbers_in(log)[-1]
    put(log, newest, lines_of(log, newest)[:-1])


def cut_off_within_a_line(log: Path) -> None:
    newest = numbers_in(log)[-1]
    path = log / file_name(newest)
    os.truncate(path, path.stat().st_size - 1)


def without_the_oldest(log: Path) -> None:
    (log / file_name(1)).unlink()


def without_one_between(log: Path) -> None:
    (log / file_name(3)).unlink()


def without_the_newest(log: Path) -> None:
    (log / file_name(numbers_in(log)[-1])).unlink()


def without_the_head(log: Path) -> None:
    (log / "head").unlink()


def chained_anew(log: Path) -> None:
    """Somebody who knows the format, and has no key."""
    link = None
    for number in numbers_in(log):
        if number < 2:
            continue
        lines = []
        for line in lines_of(log, number):
            parsed = unchained(line)
            assert parsed is not None
            body, claimed = parsed
            link = link or type(claimed)(claimed.seq - 1, b"")
            if link.digest == b"":
                before = unchained(lines_of(log, 1)[-1])
                assert before is not None
                link = before[1]
            if b'"File"' in body:
                body = b'%b"hash":"%b"}}' % (body.split(b'"hash":"')[0], link.digest.hex().encode())
            new, link = chained(body.replace(b"xxx", b"xyx"), link)
            lines.append(new)
        put(log, number, lines)


@pytest.mark.parametrize(
    ("touch", "where", "says"),
    [
        (edited, "audit-00000002.log:4", "was changed"),
        (without_a_line, "audit-00000002.log:4", "is missing"),
        (swapped, "audit-00000002.log:4", "is missing"),
        (repeated, "audit-00000002.log:5", "moved, repeated or put in"),
        (with_a_strange_line, "audit-00000002.log:4", "is no line of an audit log"),
        (cut_off, "", "the end was cut off"),
        (cut_off_within_a_line, "", "the end was cut off"),
        (without_the_oldest, "audit-00000001.log", "the file is missing"),
        (without_one_between, "audit-00000003.log", "the file is missing"),
        (without_the_newest, "", "the file is missing"),
        (without_the_head, "head", "nothing vouches for the end"),
        (chained_anew, "audit-00000002.log", "the signature is false|the seal does not belong"),
    ],
)
def test_whatever_is_done_to_a_log_is_found_out(
    log: Path, touch: Callable[[Path], None], where: str, says: str
) -> None:
    touch(log)
    verdict = verify(log)
    assert any(
        str(found).startswith(where) and any(word in found.message for word in says.split("|"))
        for found in verdict.problems
    ), verdict.problems


def test_one_edited_line_is_one_problem(log: Path) -> None:
    edited(log)
    assert len(verify(log).problems) == 1


def test_a_log_signed_anew_with_another_key_is_found_out_by_who_has_the_key(tmp_path: Path, whole: Path) -> None:
    forged = verify(written(tmp_path))
    assert forged.is_whole
    genuine = verify(whole)
    assert "another key" in str(verify(tmp_path / "audit", public_key=genuine.public_key).problems[0])


def test_a_log_put_back_to_an_earlier_day_is_found_out_by_a_noted_end(tmp_path: Path) -> None:
    log = written(tmp_path, 10)
    shutil.copytree(log, tmp_path / "backup")
    noted = verify(written(tmp_path, 10)).link
    assert verify(tmp_path / "audit", expected=(parse_link(str(noted)),)).is_whole
    verdict = verify(tmp_path / "backup", expected=(noted,))
    assert "you have noted" in str(verdict.problems[0])


@pytest.mark.parametrize("torn", [b'{"kind":"Event","audi', b"\0" * 5_000, b'{"kind":"Event"}\n\0\0\0'])
def test_what_a_crash_left_half_written_is_repaired_and_recorded(tmp_path: Path, torn: bytes) -> None:
    log = written(tmp_path, 3)
    with (log / file_name(1)).open("ab") as file:
        file.write(torn)
    if not torn.endswith(b"\0"):
        before = verify(log)
        assert before.is_whole
        assert "not complete" in str(before.notices)
    written(tmp_path, 1)
    verdict = verify(log)
    assert verdict.is_whole, verdict.problems
    assert "repaired after a crash" in str(verdict.notices)
    assert ids(log) == ["0", "1", "2", "0"]


@pytest.mark.parametrize(
    "touch", [edited, cut_off, without_the_newest, without_the_head, cut_off_within_a_line, shutil.rmtree]
)
def test_a_server_that_starts_on_a_broken_log_goes_on_but_the_break_stays(
    tmp_path: Path, touch: Callable[[Path], None]
) -> None:
    log = written(tmp_path)
    touch(log)
    written(tmp_path, 5)
    verdict = verify(log)
    assert not verdict.is_whole
    assert ids(log)[-5:] == ["0", "1", "2", "3", "4"]


def replaced(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content.replace(b'"1"', b'"7"'))


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 50)


@pytest.mark.parametrize("touch", [Path.unlink, replaced, shortened])
def test_a_file_that_is_touched_while_it_is_written_does_not_swallow_what_follows(
    tmp_path: Path, touch: Callable[[Path], None]
) -> None:
    journal = opened(tmp_path, AuditSettings(reserve_bytes=0))
    log = tmp_path / "audit"
    for number in range(6):
        journal.keep([event(number)])
        journal.sync()
        journal.settle()
        if number == 2:
            touch(log / file_name(1))
    journal.close()
    assert [json.loads(line)["auditID"] for line in ids_without_torn(log)[-2:]] == ["4", "5"]
    verdict = verify(log)
    assert any(
        "audit-00000001.log was" in str(each) or "audit-00000001.log had" in str(each) for each in verdict.problems
    )


def test_old_files_go_and_are_not_missed(tmp_path: Path) -> None:
    settings = AuditSettings(file_bytes_max=2_000, files_max=2, age_max_days=0, reserve_bytes=0)
    log = written(tmp_path, 60, settings)
    assert len(numbers_in(log)) == 3
    verdict = verify(log)
    assert verdict.is_whole, verdict.problems
    (log / file_name(numbers_in(log)[0])).unlink()
    assert "the file is missing" in str(verify(log).problems)


def test_files_go_when_they_are_too_old(tmp_path: Path) -> None:
    settings = AuditSettings(file_bytes_max=2_000, files_max=0, age_max_days=1, reserve_bytes=0)
    log = written(tmp_path, 30, settings)
    there = numbers_in(log)
    for number in there[:2]:
        os.utime(log / file_name(number), (0, 0))
    written(tmp_path, 20, settings)
    assert numbers_in(log)[0] == there[2]
    assert verify(log).is_whole


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(JournalHeld):
        opened(tmp_path)
    journal.close()


def test_files_are_for_nobody_else(whole: Path) -> None:
    assert whole.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in whole.iterdir()} == {0o600}


@pytest.fixture
def narrow() -> Iterator[Callable[[int], None]]:
    """Files may not grow past a size: as real a failure to write as a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_could_not_be_written_is_written_later_and_once(tmp_path: Path, narrow: Callable[[int], None]) -> None:
    journal = opened(tmp_path, AuditSettings(reserve_bytes=0))
    journal.write([event(1)])
    journal.sync()
    narrow(1_000)
    for number in (2, 3):
        with pytest.raises(OSError):
            journal.write([event(number) * 1, event(number)])
    with pytest.raises(OSError):
        journal.sync()
    import resource

    narrow(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    journal.sync()
    journal.close()
    assert ids(tmp_path / "audit") == ["1", "2", "2", "3", "3"]
    assert verify(tmp_path / "audit").is_whole


KILLED = """
import sys
from pathlib import Path
from tests.unit.apiserver.test_audit_journal import event, opened
journal = opened(Path(sys.argv[1]))
number = 0
while True:
    journal.keep([event(number + part) for part in range(5)])
    journal.sync()
    journal.settle()
    number += 5
    print(number, flush=True)
"""


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_after_kill_minus_nine_everything_promised_is_there(tmp_path: Path, times: int) -> None:
    root = Path(__file__).parents[3]
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root
        )
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                promised = int(line)
                if promised >= 50:
                    break
            process.send_signal(signal.SIGKILL)
            process.wait()
        before = len(ids_without_torn(tmp_path / "audit"))
        assert before >= promised
    written(tmp_path, 1)
    verdict: Verdict = verify(tmp_path / "audit")
    assert verdict.is_whole, verdict.problems


def ids_without_torn(log: Path) -> list[bytes]:
    lines = [line.text for number in numbers_in(log) for line in lines_from(log / file_name(number))]
    return [line for line in lines if line.endswith(b"\n") and b'"Event"' in line]


def test_lines_backwards_are_the_lines_forwards(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "lines"
    texts = [b"x" * (size * 7_919 % 300_000) for size in range(20)]
    path.write_bytes(b"\n".join(texts) + b"\nincomplete")
    assert [text for _, text in lines_back(path)] == texts[::-1]
    assert all(path.read_bytes()[at : at + len(text)] == text for at, text in lines_back(path))


def test_a_link_is_written_and_read() -> None:
    assert parse_link(str(ORIGIN)) == ORIGIN
    for wrong in ("", "1", "x:" + "0" * 64, "1:zz"):
        with pytest.raises(ValueError):
            parse_link(wrong)
