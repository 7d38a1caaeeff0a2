"""Kubeconfigs as `starkctl config` shows and changes them: kubectl's rules for which file of several is meant.

Of two files that name the same thing the first wins, and a change goes where the thing stands; what is new goes into the
first file that is there, or into the last when there is none (client-go, `clientcmd.ModifyConfig`).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stark.client.config import ConfigError, kubeconfig_files, read_kubeconfig

from .errors import CommandError
from .output import to_yaml

KINDS = {"cluster": "clusters", "context": "contexts", "user": "users"}
SECRET = ("client-key-data", "token", "password")
PEM = ("certificate-authority-data", "client-certificate-data")
OMITTED, REDACTED = "DATA+OMITTED", "REDACTED"
FILES = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
    "context": (),
}
"""Fields that name a file, by kind; a relative one is relative to the kubeconfig."""

Object = dict[str, Any]


class Stanza(NamedTuple):
    """One named cluster, user or context, and the file it is from."""

    name: str
    body: Object
    file: Path


def add_kubeconfig_option(parser: argparse.ArgumentParser) -> None:
    """`--kubeconfig`, for commands that ask no server."""
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="the kubeconfig (default: $KUBECONFIG, then ~/.kube/config)"
    )


class Kubeconfigs:
    """All files that are meant, in order."""

    def __init__(self, path: str | None) -> None:
        """Raises CommandError for one that is no kubeconfig."""
        self.files = kubeconfig_files(path)
        try:
            self._bodies = {file: dict(read_kubeconfig(file)) for file in self.files if file.is_file()}
        except ConfigError as error:
            raise CommandError(str(error)) from error

    @property
    def current(self) -> str:
        """The context in use; empty when none is."""
        return next((str(body["current-context"]) for body in self._bodies.values() if body.get("current-context")), "")

    def every(self, kind: str) -> dict[str, Stanza]:
        """What is named, by name."""
        found: dict[str, Stanza] = {}
        for file, body in self._bodies.items():
            for item in self._items(file, body, kind):
                found.setdefault(item["name"], Stanza(item["name"], dict(item.get(kind) or {}), file))
        return found

    def find(self, kind: str, name: str) -> Stanza:
        """Raises CommandError, with what there is."""
        found = self.every(kind)
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise CommandError(f"no {kind} exists with the name: {name!r}; there are: {known}")
        return found[name]

    def put(self, kind: str, name: str, body: Object) -> None:
        """Write it where it stands, or where new things go."""
        known = self.every(kind).get(name)
        file = known.file if known is not None else self._new_file()
        with self._changed(file) as content:
            items = content.setdefault(KINDS[kind], []) or []
            content[KINDS[kind]] = items
            for item in items:
                if item["name"] == name:
                    item[kind] = body
                    return
            items.append({"name": name, kind: body})

    def delete(self, kind: str, name: str) -> Path:
        """Take it out; returns the file it was in. Raises CommandError."""
        file = self.find(kind, name).file
        with self._changed(file) as content:
            content[KINDS[kind]] = [item for item in content[KINDS[kind]] if item["name"] != name]
        return file

    def use(self, context: str) -> None:
        """Make it the one in use, in the file that says so now."""
        files = [file for file, body in self._bodies.items() if body.get("current-context")]
        with self._changed(files[0] if files else self._new_file()) as content:
            content["current-context"] = context

    def merged(self) -> Object:
        """Everything as one kubeconfig. Files that are named are named in full, since it may be kept elsewhere."""
        body: Object = {"apiVersion": "v1", "kind": "Config"}
        for kind, plural in KINDS.items():
            body[plural] = [{"name": each.name, kind: _absolute(kind, each)} for each in self.every(kind).values()]
        body["current-context"] = self.current
        return body

    @staticmethod
    def _items(file: Path, body: Mapping[str, Any], kind: str) -> list[Object]:
        items = body.get(KINDS[kind]) or []
        if not isinstance(items, list) or not all(
            isinstance(i, dict) and isinstance(i.get("name"), str) for i in items
        ):
            raise CommandError(f"{file}: {KINDS[kind]}: expected a list of things with names")
        return items

    def _new_file(self) -> Path:
        return next((file for file in self.files if file in self._bodies), self.files[-1])

    @contextlib.contextmanager
    def _changed(self, file: Path) -> Iterator[Object]:
        """The file's content, read anew under a lock, to be changed; then written whole. Raises CommandError."""
        import fcntl

        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(file.with_name(f"{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CommandError(f"cannot write {file}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = dict(read_kubeconfig(file)) if file.is_file() else {"apiVersion": "v1", "kind": "Config"}
            yield content
            _write(file, to_yaml(content))
            self._bodies[file] = content
        except ConfigError as error:
            raise CommandError(str(error)) from error
        finally:
            file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
            os.close(lock)


def redacted(body: Object) -> Object:
    """The same kubeconfig without what opens doors, as kubectl shows it."""
    shown = {**body}
    for kind, plural in KINDS.items():
        shown[plural] = [{**item, kind: _redacted(item.get(kind) or {})} for item in body.get(plural) or ()]
    return shown


def _redacted(body: Object) -> Object:
    marks = {**dict.fromkeys(SECRET, REDACTED), **dict.fromkeys(PEM, OMITTED), "client-key-data": OMITTED}
    return {key: marks[key] if value and key in marks else value for key, value in body.items()}


def flattened(body: Object) -> Object:
    """The same kubeconfig with the contents of the files it names. Raises CommandError."""
    shown = {**body}
    for kind, plural in KINDS.items():
        shown[plural] = [{**item, kind: _embedded(kind, item.get(kind) or {})} for item in body.get(plural) or ()]
    return shown


def _embedded(kind: str, body: Object) -> Object:
    kept = {key: value for key, value in body.items() if key not in FILES[kind] or key == "tokenFile"}
    for key in FILES[kind]:
        if key != "tokenFile" and body.get(key):
            kept.setdefault(f"{key}-data", pem_of(str(body[key])))
    return kept


def pem_of(path: str) -> str:
    """A file's content as kubeconfigs have it. Raises CommandError."""
    try:
        return base64.b64encode(Path(path).expanduser().read_bytes()).decode()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error


def minified(body: Object, context: str) -> Object:
    """Only what the context needs. Raises CommandError."""
    found = next((item for item in body["contexts"] if item["name"] == context), None)
    if found is None:
        raise CommandError(f"no context exists with the name: {context!r}" if context else "current-context is not set")
    inner = found.get("context") or {}
    wanted = {"cluster": inner.get("cluster"), "context": context, "user": inner.get("user")}
    kept = {KINDS[kind]: [item for item in body[KINDS[kind]] if item["name"] == name] for kind, name in wanted.items()}
    return {**body, **kept, "current-context": context}


def _absolute(kind: str, stanza: Stanza) -> Object:
    body = dict(stanza.body)
    for key in FILES[kind]:
        if body.get(key):
            body[key] = str(stanza.file.parent.absolute() / Path(str(body[key])).expanduser())
    return body


def _write(file: Path, text: str) -> None:
    """Replace it whole, readable for its owner alone, whatever it was before; a link stays one. Raises CommandError."""
    target = Path(os.path.realpath(file))
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CommandError(f"cannot write {file}: {error.strerror}") from error
