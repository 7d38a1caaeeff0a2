"""Whose objects may meet: the pure rules that server, scheduler and controllers share."""

from __future__ import annotations

import pytest

from stark.crds.annotations import ACCEPT_PUBLIC_PACKS, OPEN_NODE, OWNER, OWNER_ROLE
from stark.crds.tenancy import (
    FOREIGN_NODE,
    NO_PUBLIC_PACKS,
    UNOWNED_NODE,
    NodeTerms,
    Owner,
    may_adopt,
    may_select,
    node_refusal,
    pack_refusal,
)

NOBODY, ADMIN = Owner(), Owner("root", "admin")
ALICE, BOB, ROBOT = Owner("alice", "user"), Owner("bob", "user"), Owner("system:serviceaccount:a:b")


def terms(owner: Owner, **annotations: str) -> NodeTerms:
    return NodeTerms.of({OWNER: owner.name, OWNER_ROLE: owner.rank, **annotations})


@pytest.mark.parametrize(
    ("pod", "node", "private", "public"),
    [
        pytest.param(ALICE, terms(ALICE), "", "", id="one's own node runs everything of one's own"),
        pytest.param(ALICE, terms(ADMIN), "", "", id="an administrator's node is there for all"),
        pytest.param(ALICE, terms(BOB), FOREIGN_NODE, "", id="another user's node runs public packs"),
        pytest.param(
            ALICE,
            terms(BOB, **{ACCEPT_PUBLIC_PACKS: "false"}),
            FOREIGN_NODE,
            NO_PUBLIC_PACKS,
            id="unless its owner does not want that",
        ),
        pytest.param(
            ALICE, terms(ALICE, **{ACCEPT_PUBLIC_PACKS: "false"}), "", "", id="which does not concern the owner"
        ),
        pytest.param(ALICE, terms(NOBODY), UNOWNED_NODE, UNOWNED_NODE, id="a node of nobody's runs nothing of users"),
        pytest.param(ALICE, terms(NOBODY, **{OPEN_NODE: "true"}), "", "", id="unless it was opened"),
        pytest.param(ROBOT, terms(BOB), FOREIGN_NODE, "", id="an account is a user like others"),
        pytest.param(
            ADMIN, terms(BOB), FOREIGN_NODE, "", id="an administrator's secrets are no business of a user's node"
        ),
        pytest.param(ADMIN, terms(NOBODY), "", "", id="administrators' pods go to nodes of nobody's"),
        pytest.param(NOBODY, terms(NOBODY), "", "", id="so do the cluster's own"),
        pytest.param(NOBODY, terms(BOB), FOREIGN_NODE, "", id="which keep away from users' nodes, too"),
    ],
)
def test_a_node_serves(pod: Owner, node: NodeTerms, private: str, public: str) -> None:
    assert (node_refusal(pod, node, is_private=True), node_refusal(pod, node, is_private=False)) == (private, public)


@pytest.mark.parametrize(
    ("pod", "pack", "visibility", "refused"),
    [
        (ALICE, ALICE, "private", False),
        (ALICE, BOB, "private", True),
        (ALICE, NOBODY, "private", True),
        (ALICE, BOB, "public", False),
        (ADMIN, BOB, "private", False),
        (NOBODY, BOB, "private", False),
    ],
)
def test_a_private_pack_is_its_owners(pod: Owner, pack: Owner, visibility: str, refused: bool) -> None:
    assert pack_refusal(pod, pack, visibility) is refused


@pytest.mark.parametrize(
    ("one", "other", "selects", "adopts"),
    [
        (ALICE, ALICE, True, True),
        (ALICE, BOB, False, False),
        (ALICE, NOBODY, False, False),
        (NOBODY, ALICE, True, False),
        (ADMIN, ALICE, True, False),
        (ADMIN, NOBODY, True, True),
        (ROBOT, ADMIN, True, True),
    ],
)
def test_a_selector_of_a_restricted_owner_stays_at_home(one: Owner, other: Owner, selects: bool, adopts: bool) -> None:
    assert (may_select(one, other), may_adopt(one, other)) == (selects, adopts)
