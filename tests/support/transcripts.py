"""Terminal sessions written as Markdown, run and compared: what a user reads is what is tested.

A file is a subject, a `## ` heading is a claim with a namespace and a directory of its own, and the paragraphs between
say what the indented commands after them show:

    A missing object is an error that names it.

        $ kubectl get pod nobody
        ! Error from server (NotFound): pods "nobody" not found
        [1]

Lines after a command are its whole output: `! ` marks standard error, `[1]` at the end is an exit code other than 0, and
`> ` goes on with the command. `…` stands for any text in a line and, alone on a line, for any lines. Two or more spaces
match any such run, since columns are as wide as what is in them, and a tab counts as four. `~ ` in place of `$ ` repeats
a command that only reads until it answers so: some things take a moment. A line that only some minor versions print
begins with `(1.32+) ` or `(-1.31) `. `$NS` and other variables of the environment may stand in commands and in output.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

COMMAND_TIMEOUT_S = 90.0
SOON_S = 45.0
"""Longest time for a `~` command to come true; only ever reached by a test that fails."""
REPEAT_S = 0.2
SHOWN_LINES_MAX = 60
"""Lines of an answer that a failure repeats."""
INDENT = TAB = "    "
_ONLY = re.compile(r"\((?:(1\.\d+)\+|-(1\.\d+))\) (.*)")
_CODE = re.compile(r"\[(\d+)\]")
_FREE = re.compile(r"…| {2,}")


@dataclass
class Case:
    """One command and all that it should answer."""

    line: int
    sentence: str
    command: str
    soon: bool
    expected: list[str] = field(default_factory=list)

    def of(self, minor: str) -> tuple[list[str], list[str], int]:
        """Lines of standard output, lines of standard error and the exit code that this minor version should give."""
        out, err, code = [], [], 0
        for line in self.expected:
            only = _ONLY.fullmatch(line)
            if only is not None:
                if not _within(minor, only[1], only[2]):
                    continue
                line = only[3]
            if found := _CODE.fullmatch(line):
                code = int(found[1])
            elif line == "!" or line.startswith("! "):
                err.append(line[2:])
            else:
                out.append(line)
        return out, err, code


@dataclass
class Claim:
    """A heading and the commands that prove it."""

    file: Path
    title: str
    cases: list[Case]

    @property
    def id(self) -> str:
        """Short and unique: the file and the heading."""
        return f"{self.file.stem}: {self.title}"


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    out: str
    err: str
    code: int


def _within(minor: str, first: str | None, last: str | None) -> bool:
    number = int(minor.split(".")[1])
    if first is not None:
        return number >= int(first.split(".")[1])
    return number <= int((last or "").split(".")[1])


def claims(file: Path) -> Iterator[Claim]:
    """The claims of a file, in order."""
    claim: Claim | None = None
    case: Case | None = None
    prose: list[str] = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.startswith("## "):
            if claim is not None:
                yield claim
            claim, case, prose = Claim(file, line[3:], []), None, []
        elif line.startswith(INDENT):
            assert claim is not None, f"{file.name}:{number}: a command before the first heading"
            words = line[len(INDENT) :]
            if words.startswith(("$ ", "~ ")):
                case = Case(number, " ".join(prose), words[2:], soon=words[0] == "~")
                claim.cases.append(case)
            else:
                assert case is not None, f"{file.name}:{number}: output before the first command"
                _continue(case, words)
        elif line.strip():
            if case is not None:
                case, prose = None, []
            prose.append(line.strip())
        elif case is not None and case.expected:
            # An empty line inside a block is one of the output's; those at its end are taken away again.
            case.expected.append("")
    if claim is not None:
        yield claim


def _continue(case: Case, words: str) -> None:
    if not case.expected and (words == ">" or words.startswith("> ")):
        case.command += "\n" + words[2:]
    else:
        case.expected.append(words)


def pattern(lines: list[str], environment: Mapping[str, str]) -> re.Pattern[str]:
    """Matches the text that these expected lines stand for."""
    parts = []
    for line in lines:
        if line == "…":
            parts.append(r"(?:.*\n)*?")
            continue
        line = string.Template(line).safe_substitute(environment).rstrip()
        indentation = len(line) - len(line.lstrip())
        parts.append(re.escape(line[:indentation]) + _line(line[indentation:]) + r"[ \t]*\n")
    return re.compile("".join(parts))


def _line(text: str) -> str:
    pieces, at = [], 0
    for free in _FREE.finditer(text):
        pieces += [re.escape(text[at : free.start()]), ".*?" if free[0] == "…" else r"[ \t]{2,}"]
        at = free.end()
    return "".join((*pieces, re.escape(text[at:])))


def mismatch(case: Case, said: Said, minor: str, environment: Mapping[str, str]) -> str | None:
    """What is not as it should be, for a person; None when everything is."""
    out, err, code = case.of(minor)
    for stream in (out, err):
        while stream and not stream[-1]:
            stream.pop()
    same = all(
        pattern(lines, environment).fullmatch(_ended(text)) for lines, text in ((out, said.out), (err, said.err))
    )
    if same and said.code == code:
        return None
    actual = transcript(said)
    wanted = "\n".join(
        INDENT + line for line in [*out, *(f"! {line}" for line in err), *([f"[{code}]"] if code else [])]
    )
    return (
        f"line {case.line}: {case.sentence}\n{INDENT}$ {case.command}\nshould answer\n{wanted}\nbut answered\n{actual}"
    )


def transcript(said: Said) -> str:
    """What was said, as it would be written down in a file."""
    lines = [*said.out.splitlines(), *(f"! {line}" for line in said.err.splitlines())]
    shown = [*lines[:SHOWN_LINES_MAX], *(["…"] if len(lines) > SHOWN_LINES_MAX else [])]
    return "\n".join(INDENT + line for line in [*shown, *([f"[{said.code}]"] if said.code else [])])


def _ended(text: str) -> str:
    text = text.replace("\t", TAB).rstrip()
    return f"{text}\n" if text else ""


async def run(command: str, environment: Mapping[str, str], directory: Path) -> Said:
    """Run a command line in bash, with all it started ended when it takes too long."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command,
        env=environment, cwd=directory, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            out, err = await process.communicate()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise AssertionError(f"took longer than {COMMAND_TIMEOUT_S} s: {command}") from None
    assert process.returncode is not None
    return Said(out.decode(), err.decode(), process.returncode)


async def check(case: Case, minor: str, environment: Mapping[str, str], directory: Path) -> str | None:
    """Run the case and say what is wrong, if anything is."""
    deadline = asyncio.get_running_loop().time() + SOON_S
    while True:
        said = await run(case.command, environment, directory)
        wrong = mismatch(case, said, minor, environment)
        if wrong is None or not case.soon or asyncio.get_running_loop().time() > deadline:
            return wrong
        await asyncio.sleep(REPEAT_S)
