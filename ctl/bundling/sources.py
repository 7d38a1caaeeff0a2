"""What a source is, and who bundles it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import CommandError, UsageError
from .bundled import BUNDLE_BYTES_MAX, Bundled, Wishes
from .executables import bundle_executable, is_executable
from .javascript import bundle_javascript
from .nuxt import bundle_nuxt
from .python import bundle_python

SCRIPTS = frozenset({".js", ".cjs", ".mjs", ".jsx", ".ts", ".cts", ".mts", ".tsx"})
NUXT = ("nuxt.config.ts", "nuxt.config.js", "nuxt.config.mjs")
PYTHON = ("pyproject.toml", "requirements.txt", "__main__.py", "main.py", "src/__main__.py", "src/main.py")
RUNTIMES = {
    "javascript": ("node", "browser", "universal"),
    "nuxt": ("browser", "universal"),
    "python": ("python",),
    "executable": ("binary",),
}

Bundler = Callable[[Path, Wishes], Bundled]
BUNDLERS: dict[str, Bundler] = {
    "javascript": bundle_javascript,
    "nuxt": bundle_nuxt,
    "python": bundle_python,
    "executable": bundle_executable,
}


def kind_of(source: Path) -> str:
    """What a file or folder holds. Raises CommandError when it is nothing that we can bundle."""
    if source.is_dir():
        if any((source / name).is_file() for name in NUXT):
            return "nuxt"
        if (source / "package.json").is_file():
            return "javascript"
        if any((source / name).is_file() for name in PYTHON):
            return "python"
        raise CommandError(
            f"{source} holds no project: a package.json, nuxt.config, pyproject.toml, requirements.txt or main.py is missing"
        )
    if not source.is_file():
        raise CommandError(f"there is no {source}")
    if source.suffix in SCRIPTS:
        return "javascript"
    if source.suffix == ".py":
        return "python"
    if is_executable(source):
        return "executable"
    raise CommandError(f"{source} is neither a script (.js, .ts, .py) nor an executable for Linux")


def bundle(source: Path, wishes: Wishes) -> Bundled:
    """Make the bundle. Raises CommandError when the project cannot be one file, UsageError for a wrong runtime."""
    kind = kind_of(source)
    if wishes.runtime not in (None, *RUNTIMES[kind]):
        allowed = " or ".join(RUNTIMES[kind])
        raise UsageError(f"{source} is {_called(kind)}: its runtime is {allowed}, not {wishes.runtime}")
    made = BUNDLERS[kind](source.resolve(), wishes)
    if made.size > BUNDLE_BYTES_MAX:
        raise CommandError(
            f"the bundle has {made.size} bytes, more than a server takes ({BUNDLE_BYTES_MAX}): "
            "load data at run time instead of bundling it"
        )
    return made


def _called(kind: str) -> str:
    return {"javascript": "JavaScript", "nuxt": "a Nuxt project", "python": "Python"}.get(kind, "an executable")
