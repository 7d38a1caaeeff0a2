"""Bundles: what a source is taken for, what is refused and why, and that the same sources give the same bytes."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from stark.ctl.bundling import Bundled, Wishes, bundle
from stark.ctl.bundling.executables import architecture_of
from stark.ctl.bundling.javascript import entry_of
from stark.ctl.bundling.sources import kind_of
from stark.ctl.errors import CommandError

EXECUTABLE, LIBRARY = 2, 1
INTERPRETED, LOADED = 3, 1


def elf(machine: int = 62, kind: int = EXECUTABLE, header: int = LOADED, bits: int = 2) -> bytes:
    """The beginning of an ELF file with one program header."""
    ident = b"\x7fELF" + bytes([bits, 1, 1, 0]) + bytes(8)
    rest = struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0x400000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return ident + rest + struct.pack("<I", header) + bytes(52)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"package.json": "{}"}, "javascript"),
        ({"package.json": "{}", "nuxt.config.ts": ""}, "nuxt"),
        ({"pyproject.toml": ""}, "python"),
        ({"main.py": ""}, "python"),
        ({"src/main.py": ""}, "python"),
    ],
)
def test_a_folder_says_what_it_is(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert kind_of(write(tmp_path, files)) == kind


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [("a.ts", b"", "javascript"), ("a.cjs", b"", "javascript"), ("a.py", b"", "python"), ("a", elf(), "executable")],
)
def test_a_file_says_what_it_is(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name) == kind


def test_what_is_no_project_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for source, said in (
        (tmp_path, "holds no project"),
        (tmp_path / "notes.txt", "neither a script"),
        (tmp_path / "x", "no "),
    ):
        with pytest.raises(CommandError, match=said):
            kind_of(source)


@pytest.mark.parametrize(("machine", "named"), [(62, "amd64"), (183, "arm64"), (243, "riscv64")])
def test_an_executable_is_for_the_machine_its_header_names(tmp_path: Path, machine: int, named: str) -> None:
    (tmp_path / "tool").write_bytes(elf(machine))
    assert architecture_of(tmp_path / "tool") == named


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (elf(header=INTERPRETED), "linked dynamically"),
        (elf(kind=LIBRARY), "library or an object file"),
        (elf(machine=8), "a machine that packs do not know"),
        (elf(bits=1), "64-bit little-endian"),
        (b"\x7fELF", "not an executable"),
    ],
)
def test_an_executable_that_would_not_run_elsewhere_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "tool").write_bytes(content)
    with pytest.raises(CommandError, match=said):
        architecture_of(tmp_path / "tool")


@pytest.mark.parametrize(
    ("package", "files", "entry"),
    [
        ({"source": "app.ts"}, ("app.ts", "src/index.ts"), "app.ts"),
        ({"main": "dist/index.js"}, ("src/index.ts", "dist/index.js"), "src/index.ts"),
        ({"main": "lib/a.js"}, ("lib/a.js",), "lib/a.js"),
        ({}, ("index.js", "src/main.js"), "src/main.js"),
    ],
)
def test_sources_go_before_what_was_built_of_them(
    tmp_path: Path, package: dict[str, str], files: tuple[str, ...], entry: str
) -> None:
    write(tmp_path, dict.fromkeys(files, ""))
    assert entry_of(tmp_path, package) == tmp_path / entry


def zipapp(folder: Path, out: Path) -> Bundled:
    return bundle(folder, Wishes(out=out))


def test_the_same_python_sources_give_the_same_bytes(tmp_path: Path) -> None:
    files = {
        "main.py": "import lib\nprint(lib.NAME)\n",
        "lib/__init__.py": "NAME = 'lib'\n",
        "tests/test_x.py": "broken(",
    }
    made = [zipapp(write(tmp_path / name, files), tmp_path / f"{name}.pyz") for name in ("one", "two")]
    assert made[0].sha256 == made[1].sha256
    assert [name for name, _ in made[0].included] == ["main.py", "lib"]
    ran = subprocess.run([sys.executable, "-I", made[0].path.with_suffix(".pyz")], capture_output=True, check=False)
    assert b"can't find '__main__' module" in ran.stderr, "main.py is what the harness looks for, not Python itself"


def test_a_named_entry_becomes_the_function_that_is_called(tmp_path: Path) -> None:
    settings = '[project]\nname = "job"\n[tool.stark]\nentry = "job.work:serve"\n'
    files = {"pyproject.toml": settings, "job/__init__.py": "", "job/work.py": "def serve(context): pass\n"}
    made = zipapp(write(tmp_path / "job", files), tmp_path / "job.pyz")
    text = subprocess.run(["unzip", "-p", made.path, "__main__.py"], capture_output=True, text=True, check=True).stdout
    assert "from job.work import serve as default" in text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"main.py": "def main(:\n"}, "main.py is not Python"),
        ({"main.py": "", "fast/core.cpython-311.so": ""}, "fast has compiled parts"),
        ({"pyproject.toml": '[project]\nname = "x"\n'}, "does not say what to run"),
        ({"pyproject.toml": '[tool.stark]\nentry = "x"\n'}, "should be like package.module:function"),
        ({"pyproject.toml": "[project"}, "cannot be read"),
    ],
)
def test_a_python_project_that_cannot_be_one_file_says_why(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        zipapp(write(tmp_path / "project", files), tmp_path / "out.pyz")
    assert not (tmp_path / "out.pyz").exists()


JAVASCRIPT = {
    "package.json": json.dumps({"name": "@me/greeter", "type": "module"}),
    "src/index.ts": (
        "import { hello } from './hello';\nimport text from './note.txt';\n"
        "export default async (context: { packVersion: string }): Promise<void> => {\n"
        "  const { late } = await import('./late');\n  console.log(hello(context.packVersion), late, text);\n};\n"
    ),
    "src/hello.ts": "export const hello = (name: string): string => `hello ${name}`;\n",
    "src/late.ts": "export const late: string = 'late';\n",
    "src/note.txt": "note",
}


@pytest.mark.slow
def test_typescript_becomes_one_file_whose_bytes_are_the_sources_alone(tmp_path: Path) -> None:
    made = [
        bundle(write(tmp_path / place, JAVASCRIPT), Wishes(out=tmp_path / f"{place}.js", runtime="universal"))
        for place in ("one", "a/deeper/two")
    ]
    assert made[0].sha256 == made[1].sha256
    assert {name for name, _ in made[0].included} == {"src/index.ts", "src/hello.ts", "src/late.ts", "src/note.txt"}
    assert made[0].source_map is not None
    assert "src/late.ts" in made[0].source_map.read_text()
    script = f"require({str(made[0].path)!r}).default({{packVersion: '1.0.0'}})"
    ran = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "hello 1.0.0 late note\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "wishes", "said"),
    [
        ("export const serve = 1;", Wishes(), "must export a default function.*it exports serve"),
        ("console.log(1);", Wishes(), "exports nothing"),
        ("import fs from 'node:fs';\nexport default () => fs;", Wishes(runtime="universal"), "of Node.js only url"),
        ("import x from 'left-pad';\nexport default x;", Wishes(), "bundling failed"),
        ("import { a } from './other.js';\nexport default a;", Wishes(build=False), "is not one file"),
    ],
)
def test_a_script_that_no_runtime_could_call_is_refused(tmp_path: Path, text: str, wishes: Wishes, said: str) -> None:
    write(tmp_path, {"src/a.js": text, "src/other.js": "export const a = () => 0;"})
    with pytest.raises(CommandError, match=said):
        bundle(tmp_path / "src/a.js", Wishes(tmp_path / "out.js", wishes.runtime, build=wishes.build))
    assert not (tmp_path / "out.js").exists()
