"""Python: one source file as it is, or a project with its dependencies as a zipapp that a Python without them can run.

The archive is built from sorted names with one fixed time, so the same sources and the same locked dependencies give the
same bytes. What cannot be loaded from an archive, compiled extensions above all, is refused by the name of who brought it.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
import zipfile
from collections import defaultdict
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from ..errors import CommandError
from .bundled import Bundled, Wishes
from .tools import run

SHEBANG = b"#!/usr/bin/env python3\n"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say."""
COMPILED = (".so", ".pyd", ".dylib")
MAINS = ("__main__.py", "main.py")
NOT_SOURCE = shutil.ignore_patterns(
    ".*", "__pycache__", "node_modules", "venv", "build", "dist", "*.egg-info", "*.pyc", "tests", "test"
)
UNREPRODUCIBLE = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Of a distribution's metadata: what tells about the machine that installed it."""
MODULE_AND_NAME = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")


def bundle_python(source: Path, wishes: Wishes) -> Bundled:
    """Bundle a source file or a project. Raises CommandError."""
    if source.is_file():
        return _single_file(source, wishes)
    settings = _settings(source)
    name = wishes.name or str((settings.get("project") or {}).get("name") or source.name)
    out = (wishes.out or Path("bundle.pyz")).absolute()
    made = Bundled(out, "python", name)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        if wishes.install:
            made.left_out += _install_dependencies(source, settings, tree, Path(folder))
        _add_project(source, settings, tree, Path(folder))
        _ensure_main(source, settings, tree)
        _tidy(tree)
        _refuse_compiled(tree)
        _check_sources(tree)
        made.included = _inventory(tree)
        _write_archive(tree, out)
    return made


def _single_file(source: Path, wishes: Wishes) -> Bundled:
    out = (wishes.out or Path("bundle.py")).absolute()
    _check_source(source, source.name)
    if out != source:
        shutil.copyfile(source, out)
    made = Bundled(out, "python", wishes.name or source.stem)
    made.included.append((source.name, made.size))
    return made


def _settings(project: Path) -> dict[str, Any]:
    path = project / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error


# -- dependencies ------------------------------------------------------------------------------------------------


def _installer(tree: Path) -> list[str]:
    """How to install into a folder: by uv where there is one, since it is much quicker."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--no-config", "--python", sys.executable, "--target", str(tree)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile", "--no-warn-script-location"]
    return [sys.executable, "-m", "pip", "install", *quiet, "--target", str(tree)]


def _install_dependencies(project: Path, settings: dict[str, Any], tree: Path, work: Path) -> list[str]:
    """Install what the lock says, else what the project asks for. Returns remarks."""
    what = "installing dependencies"
    for name in ("requirements.lock", "requirements.txt"):
        if (project / name).is_file():
            run([*_installer(tree), "-r", str(project / name)], project, what)
            return [] if _is_pinned(project / name) else [f"{name} does not pin every version: two builds may differ"]
    locked = work / "requirements.txt"
    if (project / "uv.lock").is_file():
        export = ["uv", "export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--quiet"]
        run([*export, "--output-file", str(locked)], project, "reading uv.lock")
    elif (project / "poetry.lock").is_file():
        run(["poetry", "export", "--only", "main", "--output", str(locked)], project, "reading poetry.lock")
    if locked.is_file():
        run([*_installer(tree), "--no-deps", "-r", str(locked)], project, what)
        return []
    wanted = [str(one) for one in (settings.get("project") or {}).get("dependencies") or ()]
    if not wanted:
        return []
    run([*_installer(tree), *wanted], project, what)
    return ["no lock file pins the dependencies (uv.lock, poetry.lock, requirements.txt): two builds may differ"]


def _is_pinned(path: Path) -> bool:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return all("==" in line or " @ " in line for line in lines if line and not line.startswith(("#", "-", "\\")))


# -- the project itself ------------------------------------------------------------------------------------------


def _add_project(project: Path, settings: dict[str, Any], tree: Path, work: Path) -> None:
    """Install it as a distribution when it is one; else take its files as they lie there."""
    if "build-system" in settings:
        copy = work / "project"  # builds leave traces where they run, and this is somebody's working copy
        shutil.copytree(project, copy, ignore=NOT_SOURCE)
        run([*_installer(tree), "--no-deps", str(copy)], copy, "building the project")
    else:
        home = project / "src" if any((project / "src" / main).is_file() for main in MAINS) else project
        shutil.copytree(home, tree, ignore=NOT_SOURCE, dirs_exist_ok=True)
    for folder in (project, project / "src"):
        for main in MAINS:
            if (folder / main).is_file() and not (tree / main).exists():
                shutil.copyfile(folder / main, tree / main)


def _ensure_main(project: Path, settings: dict[str, Any], tree: Path) -> None:
    """The archive needs a main module: the project's own, or one that calls what the project names."""
    if any((tree / main).is_file() for main in MAINS):
        return
    named = ((settings.get("tool") or {}).get("stark") or {}).get("entry")
    if named is not None:
        module, function = _module_and_name(str(named), "tool.stark.entry in pyproject.toml")
        text = f"from {module} import {function} as default\n\n__all__ = ['default']\n"
    else:
        module, function = _script(project, settings, tree)
        text = (
            f"import sys\n\nfrom {module} import {function}\n\nif __name__ == '__main__':\n    sys.exit({function}())\n"
        )
    (tree / "__main__.py").write_text(text, encoding="utf-8")


def _script(project: Path, settings: dict[str, Any], tree: Path) -> tuple[str, str]:
    scripts = dict((settings.get("project") or {}).get("scripts") or {})
    for metadata in [] if scripts else sorted(tree.glob("*.dist-info/entry_points.txt")):
        listed = ConfigParser(delimiters=("=",))
        listed.read(metadata, encoding="utf-8")
        if metadata.parent.name.partition("-")[0] == project.name.replace("-", "_") and "console_scripts" in listed:
            scripts = dict(listed["console_scripts"])
    own = (settings.get("project") or {}).get("name")
    if len(scripts) == 1 or own in scripts:
        return _module_and_name(scripts[own] if own in scripts else next(iter(scripts.values())), "the script")
    raise CommandError(
        f"{project} does not say what to run: add a main.py, "
        'or `[tool.stark] entry = "package.module:function"` to pyproject.toml'
    )


def _module_and_name(text: str, what: str) -> tuple[str, str]:
    found = MODULE_AND_NAME.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"{what} is {text!r}, and should be like package.module:function")
    return found[1], found[2]


# -- the archive -------------------------------------------------------------------------------------------------


def _tidy(tree: Path) -> None:
    for folder in [*tree.rglob("__pycache__"), tree / "bin"]:
        shutil.rmtree(folder, ignore_errors=True)
    for metadata in tree.glob("*.dist-info"):
        for name in UNREPRODUCIBLE:
            (metadata / name).unlink(missing_ok=True)
    for leftover in (tree / ".lock", tree / ".gitignore"):
        leftover.unlink(missing_ok=True)


def _refuse_compiled(tree: Path) -> None:
    guilty = sorted({path.relative_to(tree).parts[0] for path in tree.rglob("*") if path.suffix in COMPILED})
    if guilty:
        raise CommandError(
            f"{', '.join(guilty)} has compiled parts, which Python cannot load from one file: use a pure Python package "
            "instead, or run the program as a container image"
        )


def _check_sources(tree: Path) -> None:
    for path in tree.rglob("*.py"):
        if path.parent == tree:  # the project's own; packages may carry templates and code for other Pythons
            _check_source(path, path.name)


def _check_source(path: Path, name: str) -> None:
    try:
        compile(path.read_bytes(), name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise CommandError(f"{name} is not Python: {error}") from error


def _inventory(tree: Path) -> list[tuple[str, int]]:
    totals: dict[str, int] = defaultdict(int)
    for path in tree.rglob("*"):
        top = path.relative_to(tree).parts[0]
        if path.is_file() and not top.endswith(".dist-info"):
            totals[top] += path.stat().st_size
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def _write_archive(tree: Path, out: Path) -> None:
    with out.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(path for path in tree.rglob("*") if path.is_file()):
                entry = zipfile.ZipInfo(path.relative_to(tree).as_posix(), ZIP_TIME)
                entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, path.read_bytes())
    out.chmod(0o755)
