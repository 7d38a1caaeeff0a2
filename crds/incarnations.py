"""Which life of a node an agent speaks for: the number that fences one that was taken for lost.

A Node carries the number of its current incarnation and who holds it. An agent says with every write for which one it
speaks; the server refuses all but the current one. The number only grows: by one when an agent joins, and by one when the
node is declared lost, which also takes the holder off it. Free of pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .annotations import PREFIX

INCARNATION = PREFIX + "incarnation"
"""Annotation of nodes, written by agents that join and by the controller node-lifecycle: the number of this life."""
HOLDER = PREFIX + "agent"
"""Annotation of nodes, written by agents and taken off by the controller: `<installation>.<process>` of the agent."""
HEADER = "Stark-Incarnation"
"""Request header of agents: `<uid of the Node>/<number>/<holder>`. The number alone does not do: after a restored backup
numbers are given out that others have had."""
STALE, HELD = "StaleIncarnation", "IdentityHeld"
"""Reasons of the cause in a refusal: the life is over, or another agent lives it."""
DIGITS_MAX = 18
"""Longest number: far more lives than there is time for."""


@dataclass(frozen=True, slots=True)
class Holder:
    """An agent: the installation outlives restarts, the process does not."""

    installation: str
    process: str

    def __str__(self) -> str:
        return f"{self.installation}.{self.process}"


@dataclass(frozen=True, slots=True)
class Incarnation:
    """What a Node says of its life."""

    uid: str
    number: int = 0
    """0: no agent has ever claimed the node, so nothing of it is fenced."""
    holder: Holder | None = None

    @property
    def header(self) -> str:
        """What an agent sends that speaks for it; empty when there is nothing to say."""
        holder = f"/{self.holder}" if self.holder is not None else ""
        return f"{self.uid}/{self.number}{holder}" if self.number else ""

    @property
    def is_fenced(self) -> bool:
        """Nobody may speak for the node until an agent has joined anew."""
        return self.number > 0 and self.holder is None


def incarnation_of(metadata: Mapping[str, Any]) -> Incarnation:
    """From the metadata of a Node in wire form; what cannot be read counts as absent."""
    annotations = metadata.get("annotations") or {}
    return read_incarnation(str(metadata.get("uid") or ""), annotations)


def read_incarnation(uid: str, annotations: Mapping[str, str]) -> Incarnation:
    """From the uid and the annotations of a Node."""
    number = parse_number(annotations.get(INCARNATION) or "")
    installation, _, process = (annotations.get(HOLDER) or "").partition(".")
    return Incarnation(uid, number or 0, Holder(installation, process) if installation else None)


def parse_number(text: str) -> int | None:
    """The annotation's number; None when it is none."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX and text[0] != "0"
    return int(text) if is_number else None


def revoked(annotations: Mapping[str, str]) -> dict[str, str | None]:
    """A merge patch of the annotations that ends this life: whoever speaks for it from now on is refused."""
    return {INCARNATION: str(read_incarnation("", annotations).number + 1), HOLDER: None}


def claimed(annotations: Mapping[str, str], by: Holder) -> dict[str, str | None]:
    """A merge patch of the annotations with which an agent begins the next life."""
    return {INCARNATION: str(read_incarnation("", annotations).number + 1), HOLDER: str(by)}
