"""JavaScript and TypeScript: one CommonJS file by esbuild, with everything in it that the runtime does not have itself.

What esbuild wrote is judged by esbuild's own account of it (the metafile): which files went in, what is still asked for
at run time, and what the entry point exports. The source map lies beside the bundle and is not a part of it.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..errors import CommandError
from .bundled import Bundled, Wishes
from .tools import esbuild, run

SHIMMED = ("url", "path", "querystring", "util", "crypto", "buffer")
"""Modules of Node.js that a universal or browser pack may require: every runtime has them."""
ENTRIES = tuple(
    f"{folder}{name}{suffix}"
    for folder in ("src/", "")
    for name in ("index", "main")
    for suffix in (".ts", ".tsx", ".mts", ".js", ".mjs", ".cjs", ".jsx")
)
INLINED = ("png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "woff", "woff2", "ttf", "otf", "mp3", "wav")
TEXTS = ("txt", "md", "html", "css", "sql", "graphql")
TARGETS = {"node": "node18", "browser": "es2022", "universal": "es2022"}
LOCKS = {
    "pnpm-lock.yaml": ["pnpm", "install", "--frozen-lockfile"],
    "package-lock.json": ["npm", "ci", "--no-audit", "--no-fund"],
    "yarn.lock": ["yarn", "install", "--frozen-lockfile"],
    "bun.lock": ["bun", "install", "--frozen-lockfile"],
}
"""How the versions in a lock file are installed, and no others."""

Metafile = dict[str, Any]


def bundle_javascript(source: Path, wishes: Wishes) -> Bundled:
    """Bundle a script, or a folder with a package.json. Raises CommandError."""
    project = source if source.is_dir() else source.parent
    package = read_package(project)
    entry = entry_of(project, package) if source.is_dir() else source
    runtime = wishes.runtime or "node"
    out = (wishes.out or Path("bundle.js")).absolute()
    if out == entry:
        raise CommandError(f"the bundle would overwrite its own source {entry}: say where to write it with --out")
    if source.is_dir() and wishes.install:
        install(project, package)
    name = wishes.name or str(package.get("name") or entry.stem).rpartition("/")[2]
    made = Bundled(out, runtime, name)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        exported = _exports(project, entry, runtime, work)
        built = work / "bundle.js"
        account = _build(project, entry, runtime, built, [*_shape("cjs", wishes), "--sourcemap=external"])
        _check_requires(account, runtime)
        _check_exports(entry, exported, wishes.entrypoint)
        made.included, made.left_out = _inventory(account)
        if wishes.build:
            shutil.copyfile(built, out)
            made.source_map = out.with_name(out.name + ".map")
            shutil.copyfile(built.with_name("bundle.js.map"), made.source_map)
        else:
            _check_is_whole(entry, made.included)
            shutil.copyfile(entry, out)
    return made


def read_package(project: Path) -> dict[str, Any]:
    """The package.json, empty where there is none. Raises CommandError."""
    path = project / "package.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CommandError(f"{path} is not a JSON object")
    return found


def entry_of(project: Path, package: dict[str, Any]) -> Path:
    """Where a project begins: its `source`, else the usual names, else `module` and `main`, which may be old builds."""
    named = [package.get("source"), *ENTRIES, package.get("module"), package.get("main")]
    for name in named:
        if isinstance(name, str) and (project / name).is_file():
            return project / name
    raise CommandError(
        f'{project} does not say where it begins: add `"source": "FILE"` to its package.json, or name the file itself'
    )


def install(project: Path, package: dict[str, Any]) -> None:
    """Install the dependencies where none are, by the lock file's own package manager. Raises CommandError."""
    if not (package.get("dependencies") or package.get("devDependencies")) or (project / "node_modules").is_dir():
        return
    for lock, command in LOCKS.items():
        if (project / lock).is_file():
            run(command, project, "installing dependencies")
            return
    run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], project, "installing dependencies")


def _shape(form: str, wishes: Wishes) -> list[str]:
    return [f"--format={form}", *(["--minify", "--keep-names"] if wishes.minify else [])]


def _build(project: Path, entry: Path, runtime: str, out: Path, more: list[str]) -> Metafile:
    """Run esbuild and return its account. Relative names and no time in the output: the same sources, the same bytes."""
    account = out.with_name(out.name + ".json")
    argv = [
        *esbuild(project),
        str(entry.relative_to(project)),
        "--bundle",
        f"--outfile={out}",
        f"--metafile={account}",
        f"--target={TARGETS[runtime]}",
        "--charset=utf8",
        "--legal-comments=inline",
        "--log-level=warning",
        "--color=false",
        '--define:process.env.NODE_ENV="production"',
        *(f"--loader:.{suffix}=dataurl" for suffix in INLINED),
        *(f"--loader:.{suffix}=text" for suffix in TEXTS),
        "--loader:.wasm=binary",
        *_platform(runtime),
        *more,
    ]
    try:
        run(argv, project, "bundling")
    except CommandError as error:
        raise CommandError(f"{error}{_advice(runtime)}") from error
    found: Metafile = json.loads(account.read_text(encoding="utf-8"))
    return found


def _platform(runtime: str) -> list[str]:
    if runtime == "node":
        return ["--platform=node"]
    shims = [f"--external:{prefix}{name}" for name in SHIMMED for prefix in ("", "node:")]
    return ["--platform=browser", "--conditions=browser", *shims]


def _advice(runtime: str) -> str:
    if runtime == "node":
        return ""
    return f". (A {runtime} pack has of Node.js only {', '.join(SHIMMED)}; with --runtime node it has all)"


def _check_requires(account: Metafile, runtime: str) -> None:
    """Nothing may be asked for at run time that the runtime does not have."""
    from_node = runtime == "node"
    for output in account["outputs"].values():
        for asked in output.get("imports") or ():
            path = str(asked["path"]).removeprefix("node:")
            if not asked.get("external") or (from_node and not path.startswith((".", "/"))) or path in SHIMMED:
                continue
            raise CommandError(f"the bundle would still ask for {asked['path']!r} at run time ({asked['kind']})")


def _exports(project: Path, entry: Path, runtime: str, work: Path) -> tuple[str, list[str]]:
    """The module form of the entry, as esbuild found it, and the names it exports (of an ES module)."""
    account = _build(project, entry, runtime, work / "names.js", ["--format=esm"])
    begin = account["inputs"][str(entry.relative_to(project))]
    names = [name for output in account["outputs"].values() for name in output.get("exports") or ()]
    return str(begin.get("format") or ""), names


def _check_exports(entry: Path, exported: tuple[str, list[str]], entrypoint: str) -> None:
    form, names = exported
    if form == "esm":
        if not {entrypoint, "default"} & set(names):
            has = f"it exports {', '.join(sorted(names))}" if names else "it exports nothing"
            wanted = "a default function" if entrypoint == "default" else f"a function {entrypoint!r}"
            raise CommandError(f"{entry.name} must export {wanted}, which is what gets called, and {has}")
    elif not re.search(r"\bexports\b", entry.read_text(encoding="utf-8", errors="replace")):
        raise CommandError(
            f"{entry.name} exports nothing: export the function to call, e.g. `export default async (context) => {{}}`"
        )


def _inventory(account: Metafile) -> tuple[list[tuple[str, int]], list[str]]:
    """Bytes by package (the project's own files by name), and what was read but is not in the bundle."""
    used: dict[str, int] = defaultdict(int)
    for output in account["outputs"].values():
        for path, share in (output.get("inputs") or {}).items():
            used[path] += int(share["bytesInOutput"])
    totals: dict[str, int] = defaultdict(int)
    for path, size in used.items():
        totals[_package_of(path)] += size
    unused = [
        f"{path}: imported for what it does, which text does not; import its text and use it"
        for path in account["inputs"]
        if not used.get(path) and path.endswith(".css")
    ]
    return sorted((item for item in totals.items() if item[1]), key=lambda item: (-item[1], item[0])), unused


def _package_of(path: str) -> str:
    """`node_modules/@scope/name/...` counts as `@scope/name`."""
    _, found, rest = path.rpartition("node_modules/")
    if not found:
        return path
    parts = rest.split("/")
    return "/".join(parts[: 2 if parts[0].startswith("@") else 1])


def _check_is_whole(entry: Path, included: list[tuple[str, int]]) -> None:
    others = [name for name, _ in included if Path(name).name != entry.name]
    if others:
        raise CommandError(
            f"{entry} is not one file: it needs {', '.join(others[:5])}; leave out --skip-build, and it is bundled"
        )
