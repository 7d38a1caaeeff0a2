"""What could stand at the cursor: commands, options, types, and names of objects, asked from the server.

The shells call `starkctl __complete WORD...` where the last word is the unfinished one. A server that does not answer
at once completes nothing; completion never shows an error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .commands import COMMANDS, GROUP_ALIASES, GROUPS, resolve
from .errors import CommandError
from .options import Session, add_global_options

TIMEOUT_S = 2.0
"""A person waits for the tab key: longer than this and no candidate is better than a late one."""
NAMES_MAX = 500
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
TAKES_OBJECTS = {"get", "describe", "delete", "scale", "label", "annotate", "logs"}


def candidates(words: Sequence[str]) -> list[str]:
    """The completions of the last word, given the ones before it."""
    *before, current = words or [""]
    before[:1] = [GROUP_ALIASES.get(word, word) for word in before[:1]]
    command = _command(before)
    if command is None:
        first = before[0] if before and before[0] in GROUPS else None
        known = list(GROUPS[first]) if first else sorted({*GROUPS, *(name for name in COMMANDS if " " not in name)})
        return [word for word in known if word.startswith(current)]
    if current.startswith("-"):
        return _options(command, current)
    if command in TAKES_OBJECTS:
        try:
            return _objects(command, before[len(command.split()) :], current)
        except CommandError:
            return []
    return []


def _command(before: Sequence[str]) -> str | None:
    if before and before[0] in GROUPS:
        name = resolve(*before[:2]) if len(before) > 1 else ""
        return name if name in COMMANDS else None
    return before[0] if before and before[0] in COMMANDS else None


def _options(command: str, current: str) -> list[str]:
    from .__main__ import parser_of

    options = (option for action in parser_of(command)._actions for option in action.option_strings)
    return sorted(option for option in options if option.startswith(current))


def _objects(command: str, rest: Sequence[str], current: str) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_global_options(parser)
    args, others = parser.parse_known_args(list(rest))
    args.request_timeout = TIMEOUT_S
    session = Session(args)
    words = [word for word in others if not word.startswith("-")]
    if not words and "/" not in current and command != "logs":
        return sorted(kind.plural for kind in session.catalog.known() if kind.plural.startswith(current))
    type_, slash, name = current.partition("/")
    if not slash:
        type_, name = ("pods" if command == "logs" else words[0]), current
    kind = session.catalog.resolve(type_)
    path = kind.path(session.namespace)
    listed = session.api.request("GET", path, query={"limit": str(NAMES_MAX)}, accept=METADATA)
    found = (item["metadata"]["name"] for item in listed.get("items") or ())
    return [f"{type_}/{item}" if slash else item for item in found if item.startswith(name)]
