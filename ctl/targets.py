"""What a command acts on: `pods`, `pod/web`, `pods a b`, `pods,deployments`, or the objects in files.

Files may be YAML (several documents), JSON, a `List`, a directory, a URL is not read, and `-` is standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import CommandError, UsageError

if TYPE_CHECKING:
    from .resources import Catalog, Kind

MANIFEST_BYTES_MAX = 64 * 1024 * 1024
"""Largest file of manifests read: far above what anyone applies at once, far below what hurts."""
SUFFIXES = (".yaml", ".yml", ".json")


class Target(NamedTuple):
    """A whole collection, or the named objects of it."""

    kind: Kind
    names: tuple[str, ...] = ()


def parse_targets(words: Sequence[str], catalog: Catalog) -> list[Target]:
    """Read `TYPE`, `TYPE,TYPE`, `TYPE NAME...` or `TYPE/NAME...`. Raises UsageError, CommandError."""
    if not words:
        raise UsageError("say what: a type such as `pods`, or `pod/NAME`; `starkctl api-resources` lists the types")
    if any("/" in word for word in words):
        return [_slashed(word, catalog) for word in words]
    types, names = words[0].split(","), tuple(words[1:])
    if names and len(types) > 1:
        raise UsageError("give names for one type only, or write each as TYPE/NAME")
    kinds: list[Kind] = []
    for name in types:
        kinds.extend(catalog.category(name) if name == "all" else [catalog.resolve(name)])
    return [Target(kind, names) for kind in kinds]


def _slashed(word: str, catalog: Catalog) -> Target:
    type_, slash, name = word.partition("/")
    if not slash or not type_ or not name or "/" in name:
        raise UsageError(f"{word!r} is not TYPE/NAME; when one argument has a slash, all must")
    return Target(catalog.resolve(type_), (name,))


def read_manifests(sources: Sequence[str], *, recursive: bool = False) -> list[dict[str, Any]]:
    """Every object in the files, in order. Raises CommandError naming the file, the line and what is wrong there."""
    objects: list[dict[str, Any]] = []
    for source in sources:
        for name, text in _texts(source, recursive):
            objects.extend(_objects(name, text))
    if not objects:
        raise CommandError(f"there is no object in {', '.join(sources)}")
    return objects


def _texts(source: str, recursive: bool) -> Iterator[tuple[str, bytes]]:
    if source == "-":
        yield "standard input", sys.stdin.buffer.read(MANIFEST_BYTES_MAX + 1)
        return
    path = Path(source)
    try:
        if path.is_dir():
            found = sorted(path.rglob("*") if recursive else path.iterdir())
            files = [file for file in found if file.is_file() and file.suffix in SUFFIXES]
            if not files:
                raise CommandError(f"the directory {source} has no .yaml, .yml or .json file")
        else:
            files = [path]
        for file in files:
            if file.stat().st_size > MANIFEST_BYTES_MAX:
                raise CommandError(f"{file} is larger than {MANIFEST_BYTES_MAX >> 20} MiB: split it")
            yield str(file), file.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {source}: {error.strerror}") from error


def _objects(name: str, text: bytes) -> Iterator[dict[str, Any]]:
    for document in _documents(name, text):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise CommandError(f"{name}: expected an object with apiVersion and kind, got {type(document).__name__}")
        if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
            for item in document["items"]:
                yield _checked(name, item)
        else:
            yield _checked(name, document)


def _documents(name: str, text: bytes) -> list[Any]:
    not_json: ValueError | None = None
    if text.lstrip()[:1] in (b"{", b"["):
        try:
            return [json.loads(text)]
        except ValueError as error:
            not_json = error  # flow-style YAML starts with a brace too
    import yaml

    try:
        return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.MarkedYAMLError as error:
        if isinstance(not_json, json.JSONDecodeError):
            where = f"line {not_json.lineno}, column {not_json.colno}"
            raise CommandError(f"{name}, {where}: {not_json.msg}: correct the JSON and try again") from error
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CommandError(
            f"{name}{where}: {error.problem or error.context}: correct the YAML and try again"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(f"{name}: not YAML or JSON: {str(error).splitlines()[0]}") from error


def _checked(name: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise CommandError(f"{name}: expected an object with apiVersion and kind, got {type(item).__name__}")
    for field in ("apiVersion", "kind"):
        if not isinstance(item.get(field), str) or not item[field]:
            raise CommandError(
                f"{name}: an object has no {field}: every object needs apiVersion, kind and metadata.name"
            )
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise CommandError(f"{name}: the {item['kind']} has no metadata.name")
    return {str(key): _plain(value) for key, value in item.items()}


def _plain(value: Any) -> Any:
    """YAML reads dates and timestamps as objects; the API wants the text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else value.isoformat()
