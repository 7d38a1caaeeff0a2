"""The house itself: doors, sizes, names, and that what is generated or documented is so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stark.controllers.catalog import CATALOG

REPO = Path(__file__).resolve().parent.parent
ROOTS = ("crds", "client", "apiserver", "controllers", "agent", "ctl")
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
sys.path.insert(0, str(REPO / "docs"))


def modules() -> list[Path]:
    return sorted(path for root in ROOTS for path in (REPO / root).rglob("*.py"))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of every import statement; level 0 is absolute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def test_the_doors_between_the_roots_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_controller_is_a_stranger_to_the_others() -> None:
    contracts = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    strangers = next(each["modules"] for each in contracts if each["type"] == "independence")
    rooms = {".".join(path.partition(":")[0].split(".")[:3]) for path in CATALOG.values()}
    assert rooms == set(strangers)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(REPO)))
def test_a_module_has_one_subject_a_reason_and_short_functions(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= MODULE_LINES_MAX, "look for the second subject"
    assert not text or ast.get_docstring(tree), "say why the module exists"
    assert path.stem not in {"utils", "helpers", "common", "misc"}, "that name has not been found yet"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} is {length} lines long"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(REPO)))
def test_imports_inside_a_root_are_relative(path: Path) -> None:
    root = path.relative_to(REPO).parts[0]
    inside = [name for level, name in imports_of(path) if level == 0 and f"{name}.".startswith(f"stark.{root}.")]
    assert not inside, f"relative inside the room: {inside}"


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        pytest.param("apiserver/store", ("resources", "crds"), id="the store knows no kinds"),
        pytest.param("apiserver/auth", ("store",), id="auth never imports the store"),
        pytest.param("apiserver/admission", ("store",), id="admission never imports the store"),
        pytest.param("agent/machine", ("asyncio", "client", "runtimes"), id="the agent's machine is pure"),
    ],
)
def test_the_inner_doors_hold(room: str, forbidden: tuple[str, ...]) -> None:
    place = REPO / room
    for path in [place] if place.is_file() else place.rglob("*.py"):
        for _, name in imports_of(path):
            parts = name.removeprefix("stark.").split(".")
            for word in forbidden:
                assert name != word, path
                assert parts[0] != word.removeprefix("stark."), path


def test_the_agent_needs_only_what_debian_packages_for_riscv64() -> None:
    """The rule: Debian's suite in tests/foreign.sh has it for every architecture. The list there is the only one."""
    listed = re.findall(r"python3-([a-z0-9-]+)", (REPO / "tests/foreign.sh").read_text())
    packaged = {name.replace("-", "_") for name in listed} | {"yarl"}  # of aiohttp
    ours = set(sys.stdlib_module_names) | {"stark", "supervisor"}
    for root in ("crds", "client", "agent"):
        for path in (REPO / root).rglob("*.py"):
            foreign = {name.split(".")[0] for level, name in imports_of(path) if level == 0} - ours
            assert foreign <= packaged, f"{path.relative_to(REPO)}: {foreign - packaged}"


def test_only_the_http_adapter_knows_the_http_library() -> None:
    allowed = ("http", "proxy")
    for path in (REPO / "apiserver").rglob("*.py"):
        if path.relative_to(REPO / "apiserver").parts[0] not in allowed:
            assert not {"aiohttp", "httptools"} & {name.split(".")[0] for _, name in imports_of(path)}, path


def test_starkctl_starts_without_what_it_does_not_need() -> None:
    heavy = "{'pydantic', 'aiohttp', 'click', 'rich', 'asyncio', 'yaml', 'cryptography', 'email', 'dataclasses'}"
    modules = "stark.ctl.__main__, stark.ctl.verbs.get, stark.ctl.http, stark.ctl.login, stark.ctl.verbs.auth_token"
    code = f"import sys, {modules}; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_every_setting_is_documented_where_it_is_declared() -> None:
    import generate

    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Settings"):
                for name, _, text in generate.settings_of(node):
                    assert text, f"{path.relative_to(REPO)}: {node.name}.{name} says nothing about itself"


@pytest.mark.parametrize("command", [["-m", "stark.crds.generate", "--check"], ["docs/generate.py", "--check"]])
def test_generated_files_are_current(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.slow
def test_the_wheel_contains_only_stark(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", str(tmp_path)]
    source = tmp_path / "source"
    # A copy, because building leaves a build/ directory behind, and a stale one would end up in the wheel.
    subprocess.run(["git", "clone", "-q", str(REPO), str(source)], check=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(command, cwd=source, check=True, capture_output=True, env={**os.environ, "PATH": path})
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"stark"}
    for needed in ("stark/crds/schema/core_pods.yaml", "stark/manifests/examples/hello.yaml", "stark/ctl/verbs/up.py"):
        assert needed in names
