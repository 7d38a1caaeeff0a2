"""The file with the keys: Kubernetes' EncryptionConfiguration (apiserver.config.k8s.io/v1), with `aesgcm` and `identity`.

Of a resource's providers the first one writes and all of them read; of an `aesgcm` provider's keys, likewise. A first
start makes the file, with a key of its own, for Secrets. Whoever reads the file reads every Secret: it belongs to its
owner alone, and into another backup than the store.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from ..auth.files import locked, private_directory, write_whole
from .envelope import KEY_BYTES, KEY_NAME_MAX

API_VERSION: Final = "apiserver.config.k8s.io/v1"
KIND: Final = "EncryptionConfiguration"
FILE_NAME: Final = "encryption.yaml"
"""In DATA_DIR/pki, unless a setting names another file."""
FILE_BYTES_MAX: Final = 1 << 20
OTHERS_BITS: Final = 0o077
NAME: Final = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?")
CREDENTIALS: Final = b"/credentials/"
"""Password hashes and refresh tokens: sealed as Secrets are."""
SECRETS: Final = "secrets"
SEALING: Final = "aesgcm"
IN_CLEAR: Final = "identity"


class BadConfiguration(Exception):
    """The file cannot be used; the message names it, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the file. Its secret shows in no representation."""

    name: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.name})"


@dataclass(frozen=True, slots=True)
class Rule:
    """How some resources are kept: the keys that open them, the first of which seals unless `writes_clear`."""

    resources: tuple[str, ...]
    keys: tuple[Key, ...]
    writes_clear: bool = False

    @property
    def writing(self) -> Key | None:
        """The key that seals; None when values are written in clear."""
        return None if self.writes_clear or not self.keys else self.keys[0]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the file says. The first rule that covers a place is the one that holds."""

    rules: tuple[Rule, ...]

    def places(self) -> list[tuple[bytes, Rule]]:
        """The beginnings of the store's keys that each rule covers, in the order in which they are looked at."""
        found = [(prefix_of(name), rule) for rule in self.rules for name in rule.resources]
        return [*found, *((CREDENTIALS, rule) for rule in self.rules if SECRETS in rule.resources)]

    def key_names(self) -> list[str]:
        """Of all keys, each once, in the file's order."""
        return list(dict.fromkeys(key.name for rule in self.rules for key in rule.keys))

    def with_first(self, key: Key) -> Configuration:
        """The same with `key` sealing whatever is sealed."""
        return Configuration(
            tuple(rule if rule.writing is None else replace(rule, keys=(key, *rule.keys)) for rule in self.rules)
        )

    def without(self, name: str) -> Configuration:
        """The same without the key of that name."""
        return Configuration(
            tuple(replace(rule, keys=tuple(key for key in rule.keys if key.name != name)) for rule in self.rules)
        )


def prefix_of(name: str) -> bytes:
    """Where the store has a resource of the file: `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group), `*.*`."""
    plural, _, group = name.partition(".")
    if name == "*.*":
        return b"/registry/"
    if plural == "*":
        return f"/registry/{group or 'core'}/".encode()
    return f"/registry/{group or 'core'}/{plural}/".encode()


def new_key(now: datetime | None = None) -> Key:
    """A random key, named by its day. A name is never used twice, so that a backup's key is known by it."""
    day = f"{now or datetime.now(UTC):%Y%m%d}"
    return Key(f"key-{day}-{os.urandom(3).hex()}", os.urandom(KEY_BYTES))


def first_configuration() -> Configuration:
    """What a first start writes: Secrets under a new key. What was written in clear before is still read."""
    return Configuration((Rule((SECRETS,), (new_key(),)),))


def read_configuration(path: Path) -> Configuration:
    """Raises BadConfiguration, FileNotFoundError."""
    try:
        status = path.stat()
        if status.st_mode & OTHERS_BITS:
            raise BadConfiguration(f"{path} holds keys and may be read by others than its owner: chmod 600 {path}")
        if status.st_size > FILE_BYTES_MAX:
            raise BadConfiguration(f"{path} is larger than {FILE_BYTES_MAX} bytes: it is no {KIND}")
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadConfiguration(f"{path} cannot be read ({error.strerror}): give the API server the right to") from error
    try:
        return parse_configuration(text)
    except ValueError as error:
        raise BadConfiguration(f"{path}: {error}") from None


def write_configuration(path: Path, configuration: Configuration) -> None:
    """Replace the file. Raises BadConfiguration."""
    try:
        private_directory(path.parent) if not path.parent.exists() else None
        write_whole(path, render_configuration(configuration))
    except OSError as error:
        raise BadConfiguration(
            f"{path} cannot be written ({error.strerror}): change the keys in it by hand, the server sees it"
        ) from error


def make_configuration(path: Path) -> Configuration:
    """The first configuration, or what another process has made meanwhile. Raises BadConfiguration."""
    if not path.parent.exists():
        private_directory(path.parent)
    with locked(path.parent):
        if not path.exists():
            write_configuration(path, first_configuration())
    return read_configuration(path)


def render_configuration(configuration: Configuration) -> bytes:
    """The file's text."""
    resources = [{"resources": list(rule.resources), "providers": _providers(rule)} for rule in configuration.rules]
    document = {"apiVersion": API_VERSION, "kind": KIND, "resources": resources}
    head = (
        "# Keys of Secrets in the store. Keep a copy apart from the store's backups: without it they cannot be read.\n"
    )
    return (head + yaml.safe_dump(document, sort_keys=False)).encode()


def _providers(rule: Rule) -> list[dict[str, Any]]:
    keys = [{"name": key.name, "secret": base64.b64encode(key.secret).decode()} for key in rule.keys]
    sealing: list[dict[str, Any]] = [{SEALING: {"keys": keys}}] if keys else []
    clear: dict[str, Any] = {IN_CLEAR: {}}
    return [clear, *sealing] if rule.writes_clear else [*sealing, clear]


def parse_configuration(text: bytes) -> Configuration:
    """What the file's text says. Raises ValueError with the field and what it must be, never with a secret."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"is not YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        raise ValueError(f"must be a {KIND} of {API_VERSION}")
    entries = document.get("resources")
    if not isinstance(entries, list) or not entries:
        raise ValueError("resources: must list at least one entry with resources and providers")
    return Configuration(tuple(_rule(f"resources[{at}]", entry) for at, entry in enumerate(entries)))


def _rule(where: str, entry: object) -> Rule:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: must have resources and providers")
    names, providers = entry.get("resources"), entry.get("providers")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{where}.resources: must name resources, such as secrets or deployments.apps")
    if not isinstance(providers, list) or not providers:
        raise ValueError(f"{where}.providers: must list at least one of {SEALING} and {IN_CLEAR}")
    kinds: list[str] = []
    keys: list[Key] = []
    for at, provider in enumerate(providers):
        here = f"{where}.providers[{at}]"
        if not isinstance(provider, dict) or len(provider) != 1:
            raise ValueError(f"{here}: must be exactly one provider")
        kind, body = next(iter(provider.items()))
        if kind not in (SEALING, IN_CLEAR):
            raise ValueError(f"{here}: {kind!r} is not served, only {SEALING} and {IN_CLEAR} are")
        kinds.append(kind)
        if kind == SEALING:
            keys += _keys(f"{here}.{SEALING}.keys", body)
    if len({key.name for key in keys}) < len(keys):
        raise ValueError(f"{where}: two keys have the same name")
    return Rule(tuple(names), tuple(keys), writes_clear=kinds[0] == IN_CLEAR)


def _keys(where: str, body: object) -> list[Key]:
    found = body.get("keys") if isinstance(body, dict) else None
    if not isinstance(found, list) or not found:
        raise ValueError(f"{where}: must list at least one key")
    return [_key(f"{where}[{at}]", item) for at, item in enumerate(found)]


def _key(where: str, item: object) -> Key:
    name, secret = (item.get("name"), item.get("secret")) if isinstance(item, dict) else (None, None)
    if not isinstance(name, str) or len(name) > KEY_NAME_MAX or not NAME.fullmatch(name):
        raise ValueError(f"{where}.name: must be at most {KEY_NAME_MAX} letters, digits, '-', '_' and '.'")
    try:
        raw = base64.b64decode(secret if isinstance(secret, str) else "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{where}.secret: must be base64") from None
    if len(raw) != KEY_BYTES:
        raise ValueError(f"{where}.secret: must be {KEY_BYTES} bytes in base64, and is {len(raw)}")
    return Key(name, raw)
