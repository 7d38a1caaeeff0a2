"""Whose objects may meet: the rules of ownership that more than one program must agree on. Pure, free of pydantic.

An owner is a name and a rank, both stamped by the API server on what somebody creates. The API server holds these rules
when a write is admitted, the scheduler when it chooses a node, the controllers when they look for what a selector means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .annotations import ACCEPT_PUBLIC_PACKS, OPEN_NODE, OWNER, OWNER_ROLE

ADMIN = "admin"
"""Rank of an owner who was an administrator."""
RESTRICTED = "user"
"""Rank of an owner who could reach only what is their own."""

FOREIGN_NODE = "node(s) belonged to another user, and the pod has a private pack or Secrets"
NO_PUBLIC_PACKS = "node(s) belonged to another user who takes no public packs"
UNOWNED_NODE = "node(s) had no owner and were not open to all"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an object is; an empty name means nobody's, which is the cluster's own."""

    name: str = ""
    rank: str = ""

    @classmethod
    def of(cls, annotations: Mapping[str, str] | None) -> Owner:
        """As an object's annotations say."""
        found = annotations or {}
        return cls(found.get(OWNER, ""), found.get(OWNER_ROLE, ""))

    @property
    def may_everything(self) -> bool:
        """An administrator's, or the cluster's own: nothing is refused to it."""
        return not self.name or self.rank == ADMIN

    @property
    def is_restricted(self) -> bool:
        """Its owner could reach only what is their own, and so can it."""
        return bool(self.name) and self.rank == RESTRICTED


NOBODY = Owner()
"""The cluster itself."""


@dataclass(frozen=True, slots=True)
class NodeTerms:
    """Whom a node serves."""

    owner: Owner = NOBODY
    accepts_public: bool = True
    """Whether it runs public packs for users who are not its owner."""
    is_open: bool = True
    """Whether it serves everybody although it is nobody's."""

    @classmethod
    def of(cls, annotations: Mapping[str, str] | None) -> NodeTerms:
        """As a Node's annotations say."""
        found = annotations or {}
        return cls(Owner.of(found), found.get(ACCEPT_PUBLIC_PACKS, "true") != "false", found.get(OPEN_NODE) == "true")


FOR_EVERYBODY = NodeTerms()
"""Of a node that nothing is known of but that it is open."""


def node_refusal(pod: Owner, terms: NodeTerms, *, is_private: bool) -> str:
    """Why a node may not run a pod, in the scheduler's words; empty when it may.

    `is_private`: the pod has a private pack, or is given Secrets or an account's token: nothing for a stranger's machine.
    """
    node = terms.owner
    if node.name and (node.rank == ADMIN or node.name == pod.name):
        return ""
    if not node.name:
        return "" if pod.may_everything or terms.is_open else UNOWNED_NODE
    if is_private:
        return FOREIGN_NODE
    return "" if terms.accepts_public else NO_PUBLIC_PACKS


def pack_refusal(pod: Owner, pack: Owner, visibility: str) -> bool:
    """Whether a pod may not run a pack: it is private, and somebody else's."""
    return visibility == "private" and not pod.may_everything and pod.name != pack.name


def may_select(selecting: Owner, selected: Owner) -> bool:
    """Whether a selector (of a Service, a disruption budget) reaches an object: that of a restricted owner stays at home."""
    return not selecting.is_restricted or selecting.name == selected.name


def may_adopt(adopting: Owner, orphan: Owner) -> bool:
    """Whether a workload may take an object as its own: not across owners when one of them is restricted."""
    return adopting.name == orphan.name or not (adopting.is_restricted or orphan.is_restricted)


def acts_as_somebody(account: str | None, automounts: bool | None) -> bool:
    """Whether a pod is given the token of an account that somebody may have given rights; `default` is everybody's."""
    return account not in (None, "", "default") and automounts is not False
