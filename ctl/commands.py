"""The commands, by name: where each lives and what it is for. Nothing here imports a command."""

from __future__ import annotations

from typing import NamedTuple

HELP_HEADING = """starkctl drives a Stark control plane: it runs packs on your machines and tells you how they are.

Usage: starkctl COMMAND [ARGUMENTS] [OPTIONS]"""


class Command(NamedTuple):
    """One command: its module under `verbs`, its subject in the overview, one line about it."""

    module: str
    subject: str
    summary: str


COMMANDS: dict[str, Command] = {
    "up": Command("up", "Start here", "run a control plane and an agent on this machine"),
    "apply": Command("apply", "Objects", "make the cluster match manifests"),
    "get": Command("get", "Objects", "list objects, or watch them"),
    "describe": Command("describe", "Objects", "tell everything about an object, with its events"),
    "delete": Command("delete", "Objects", "delete objects by name, label or manifest"),
    "scale": Command("scale", "Objects", "set the number of replicas"),
    "logs": Command("logs", "Objects", "print what a pod wrote, or follow it"),
    "pack register": Command("pack_register", "Packs", "upload a bundle as a new version of a pack"),
    "pack list": Command("pack_list", "Packs", "list packs with their latest versions"),
    "pack versions": Command("pack_versions", "Packs", "list the versions of one pack, newest first"),
    "api-resources": Command("api_resources", "About the server", "list the kinds the server serves"),
    "version": Command("version", "About the server", "print the versions of starkctl and of the server"),
    "completion": Command("completion", "About starkctl", "print a completion script for bash, zsh or fish"),
}

GROUPS: dict[str, tuple[str, ...]] = {}
for _name in COMMANDS:
    _group, _space, _word = _name.partition(" ")
    if _space:
        GROUPS[_group] = (*GROUPS.get(_group, ()), _word)

ALIASES = {"ls": "list"}
"""Second words that mean another one, as in the original command line."""
