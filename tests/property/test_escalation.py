"""On random graphs of roles, bindings and aggregation nobody reaches a permission that was not given to them.

Users try whatever comes to mind: they write roles and bindings, scoped to own objects or not, labelled to be gathered, and
change those that are there. A model that is nothing but sets of permissions says what everybody holds, what may be handed
on, and what may come of it. For every wildcard there is something that no rule names, so that `*` is more than the
sum of its parts.
"""

from __future__ import annotations

import copy
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.escalation import Escalation
from stark.apiserver.auth.authorization import AuthorizationAttributes
from stark.apiserver.errors import ApiError
from stark.apiserver.request import User
from stark.controllers.clusterrole_aggregation import gathered
from stark.crds.annotations import SCOPE, SCOPE_OWN
from stark.crds.rbac import GROUP, ClusterRole
from tests.support.roles import Roles, key_of, rule
from tests.support.roles import binding as binding_of
from tests.support.roles import role as role_of
from tests.support.server_side import resource

USERS = ("ann", "bob", "cat")
NAMESPACES = ("a", "b")
ROLE_NAMES = ("r1", "r2")
LABEL = "gather"
PLURALS = {
    "Role": "roles",
    "ClusterRole": "clusterroles",
    "RoleBinding": "rolebindings",
    "ClusterRoleBinding": "clusterrolebindings",
}

Object = dict[str, Any]
Atom = tuple[str, ...]
"""Verb, group, resource, name, namespace; or verb and path."""
T = TypeVar("T")

PLACES = ("", *NAMESPACES, "zz")
ON_RESOURCES: frozenset[Atom] = frozenset(
    (
        *product(("get", "zap"), ("", "zz"), ("pods", "pods/log", "zz", "zz/log", "zz/zz"), ("", "n", "zz"), PLACES),
        *product(("escalate", "bind"), (GROUP,), ("roles", "clusterroles"), ("", "r1", "zz"), PLACES),
    )
)
ON_PATHS: frozenset[Atom] = frozenset(product(("get", "zap"), ("/m", "/m/x", "/zz")))
EVERYTHING = ON_RESOURCES | ON_PATHS


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")


# ---- The model: permissions as sets ----


@lru_cache(maxsize=4_096)
def _atoms(verbs: Any, groups: Any, resources: Any, names: Any, paths: Any) -> frozenset[Atom]:
    def is_of(value: str, listed: Any) -> bool:
        return value in listed or "*" in listed

    found: set[Atom] = {
        atom
        for atom in ON_RESOURCES
        if is_of(atom[0], verbs)
        and is_of(atom[1], groups)
        and (is_of(atom[2], resources) or ("/" in atom[2] and f"*/{atom[2].partition('/')[2]}" in resources))
        and (not names or atom[3] in names)
    }
    found |= {
        atom
        for atom in ON_PATHS
        if is_of(atom[0], verbs)
        and any(atom[1] == path or (path.endswith("*") and atom[1].startswith(path[:-1])) for path in paths)
    }
    return frozenset(found)


def atoms_of(role: Mapping[str, Any]) -> frozenset[Atom]:
    fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    found = [_atoms(*(tuple(each.get(name) or ()) for name in fields)) for each in role.get("rules") or ()]
    return frozenset().union(*found)


def within(atoms: frozenset[Atom], namespace: str) -> frozenset[Atom]:
    """Of the permissions of a role, those that a binding there gives: everything, without a namespace."""
    return atoms if not namespace else frozenset(atom for atom in atoms if len(atom) > 2 and atom[4] == namespace)


def is_own(role: Mapping[str, Any]) -> bool:
    return SCOPE in (role["metadata"].get("annotations") or {})


@dataclass
class World:
    """The objects, the real index and plugin that follow them, and the model."""

    roles: Roles = field(default_factory=Roles)

    def get(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        found = self.roles.sources[kind].held.get(f"{namespace}/{name}" if namespace else name)
        return found.obj if found is not None else None

    def held(self, user: str, *, own: bool) -> frozenset[Atom]:
        """What the user holds: outright, or for own objects."""
        found: set[Atom] = set()
        for obj in (*self.roles.all("RoleBinding"), *self.roles.all("ClusterRoleBinding")):
            if all(subject["name"] != user for subject in obj["subjects"]):
                continue
            role = self._bound(obj)
            if role is not None and is_own(role) == own:
                found |= within(atoms_of(role), obj["metadata"].get("namespace", ""))
        return frozenset(atom for atom in found if not own or len(atom) > 2)

    def in_hand(self, user: str, namespace: str) -> frozenset[Atom]:
        """What the user may hand on there. A role bound in a namespace gives nothing on paths, but says that it does."""
        found = set(self.held(user, own=False))
        for obj in self.roles.all("RoleBinding"):
            role = self._bound(obj)
            here = namespace and obj["metadata"]["namespace"] == namespace
            if here and role is not None and not is_own(role) and any(each["name"] == user for each in obj["subjects"]):
                found |= atoms_of(role) & ON_PATHS
        return frozenset(found)

    def _bound(self, obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
        ref, namespace = obj["roleRef"], obj["metadata"].get("namespace", "")
        return self.get(ref["kind"], namespace if ref["kind"] == "Role" else "", ref["name"])

    def may(self, user: str, verb: str, plural: str, name: str, namespace: str) -> bool:
        """Whether a rule lets the user escalate or bind; said by the rules themselves, one by one."""
        for obj in (*self.roles.all("RoleBinding"), *self.roles.all("ClusterRoleBinding")):
            where, role = obj["metadata"].get("namespace", ""), self._bound(obj)
            if role is None or is_own(role) or where not in ("", namespace):
                continue
            if any(subject["name"] == user for subject in obj["subjects"]) and any(
                {verb, "*"} & set(rule["verbs"])
                and {GROUP, "*"} & set(rule.get("apiGroups", ()))
                and {plural, "*"} & set(rule.get("resources", ()))
                and (not rule.get("resourceNames") or name in rule["resourceNames"])
                for rule in role["rules"]
            ):
                return True
        return False

    def allows(self, user: str, obj: Object, old: Mapping[str, Any] | None) -> tuple[bool, bool]:
        """Whether the model lets the user write it, and whether that is by an exemption."""
        namespace, plural = obj["metadata"].get("namespace", ""), PLURALS[obj["kind"]]
        held = self.in_hand(user, namespace)
        if obj["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            ref = obj["roleRef"]
            if self.may(user, "bind", PLURALS[ref["kind"]], ref["name"], namespace):
                return True, True
            role = self._bound(obj)
            if role is None:
                return False, False
            said = atoms_of(role)
            return (within(said, namespace) | (said & ON_PATHS)) <= held, False
        if self.may(user, "escalate", plural, obj["metadata"]["name"] if old is not None else "", namespace):
            return True, True
        gathers = "aggregationRule" in obj or "aggregationRule" in (old or {})
        wanted = EVERYTHING if gathers else within(atoms_of(obj), namespace)
        return wanted <= held, False

    def write(self, user: User, obj: Object) -> bool:
        """Let the real plugin judge the write, and store it when it does."""
        old = self.get(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if old is not None and "roleRef" in old and old["roleRef"] != obj["roleRef"]:
            return False
        attributes = Attributes(
            "CREATE" if old is None else "UPDATE",
            resource(GROUP, PLURALS[obj["kind"]]),
            "",
            obj["metadata"].get("namespace", ""),
            obj["metadata"]["name"],
            copy.deepcopy(obj),
            old,
            user,
        )
        try:
            finished(Escalation(self.roles.authorizer, self.roles.authorizer)(attributes, _Lookup(self)))
        except ApiError:
            return False
        self.roles.put(obj)
        return True

    def gather(self) -> None:
        """What the controller does, until there is nothing left to do."""
        for _ in range(len(ROLE_NAMES) + 2):
            parsed = {key_of(obj): ClusterRole.model_validate(obj) for obj in self.roles.all("ClusterRole")}
            for key, role in parsed.items():
                rules = gathered(role, parsed.values())
                if rules is not None and rules != role.rules:
                    obj = self.roles.sources["ClusterRole"].held[key].obj
                    told = [rule.model_dump(mode="json", by_alias=True, exclude_unset=True) for rule in rules]
                    self.roles.put({**obj, "rules": told})


@dataclass
class _Lookup:
    world: World

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.world.get({"roles": "Role", "clusterroles": "ClusterRole"}[plural], namespace, name)

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        raise AssertionError(plural)


# ---- What is tried ----


def some(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


PATH_RULES: tuple[Object, ...] = tuple({"verbs": ["get"], "nonResourceURLs": [path]} for path in ("/m", "/m/*", "*"))
RULES: tuple[Object, ...] = (
    rule("get", "pods"),
    rule("get", "pods", names="n"),
    rule("*", "pods", names="n"),
    rule("get", "pods/log"),
    rule("get", "*/log"),
    rule("get", "*"),
    rule("get", "pods", group="*"),
    rule("*", "*", group="*"),
    rule("escalate", "roles clusterroles", group=GROUP, names="r1"),
    rule("bind", "clusterroles roles", group=GROUP, names="r1"),
    rule("escalate bind", "roles clusterroles", group=GROUP),
)
"""Few, so that what is tried and what is held often have to do with one another."""
WHOLE = [rule("*", "*", group="*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}]


@st.composite
def roles(draw: st.DrawFn) -> Object:
    namespace = draw(st.sampled_from(("", "", *NAMESPACES)))
    own = draw(st.integers(0, 2)) == 0
    pool = RULES if namespace or own else (*RULES, *PATH_RULES)
    # Those that give much come last, and seldom: among the mighty there is nothing to find.
    number = st.integers(0, len(pool) - 1).flatmap(lambda most: st.integers(0, most))
    rules = [pool[draw(number)] for _ in range(draw(st.integers(1, 2)))]
    if not own and not namespace and draw(st.integers(0, 15)) == 0:
        rules = WHOLE
    made = role_of(draw(st.sampled_from(ROLE_NAMES)), *rules, namespace=namespace, own=own)
    if not namespace:
        if draw(st.booleans()):
            made["metadata"]["labels"] = {LABEL: draw(st.sampled_from(("x", "y")))}
        if draw(st.integers(0, 3)) == 0:
            selector = {"matchLabels": {LABEL: draw(st.sampled_from(("x", "y")))}}
            made |= {"aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": []}
    return made


@st.composite
def bindings(draw: st.DrawFn) -> Object:
    namespace = draw(st.sampled_from(("", *NAMESPACES)))
    kind = draw(st.sampled_from(("Role", "ClusterRole") if namespace else ("ClusterRole",)))
    subjects = draw(some(USERS))
    name = draw(st.sampled_from(("b1", "b2", "b3")))
    return binding_of(name, f"{kind}/{draw(st.sampled_from(ROLE_NAMES))}", *subjects, namespace=namespace)


OBJECTS = st.one_of(roles(), bindings())
BEGINNINGS = st.tuples(st.lists(roles(), min_size=2, max_size=6), st.lists(bindings(), min_size=2, max_size=4)).map(
    lambda both: [*both[0], *both[1]]
)


@dataclass(frozen=True)
class Twist:
    """Something made of what is there: what an attacker would try first."""

    how: str
    number: int

    def of(self, world: World) -> Object | None:
        objects = [obj for kind in PLURALS for obj in world.roles.all(kind)]
        if not objects:
            return None
        obj = copy.deepcopy(dict(objects[self.number % len(objects)]))
        metadata = obj["metadata"]
        if "roleRef" in obj:
            # The same for somebody else: added, or instead.
            other = {"kind": "User", "apiGroup": GROUP, "name": USERS[self.number % len(USERS)]}
            obj["subjects"] = [other] if self.how == "bind" else [*obj["subjects"], other]
            return obj
        if self.how == "bind":
            namespace, name = metadata.get("namespace", ""), metadata["name"]
            return binding_of("b3", f"{obj['kind']}/{name}", USERS[self.number % len(USERS)], namespace=namespace)
        metadata.pop("annotations", None)
        if self.how == "rename":
            metadata["name"] = "r3"
        return obj


TWISTS = st.builds(Twist, st.sampled_from(("unscope", "rename", "bind")), st.integers(0, 11))
Try = tuple[str, Object | Twist]
TRIES: st.SearchStrategy[list[Try]] = st.lists(
    st.tuples(st.sampled_from(USERS), st.one_of(OBJECTS, TWISTS)), min_size=1, max_size=8
)


def test_own_scope_is_what_the_model_takes_it_for() -> None:
    assert is_own(role_of("r", own=True))
    assert role_of("r", own=True)["metadata"]["annotations"] == {SCOPE: SCOPE_OWN}


def _asked(user: User, atom: Atom) -> AuthorizationAttributes:
    if len(atom) == 2:
        return AuthorizationAttributes(user, atom[0], path=atom[1])
    plural, _, subresource = atom[2].partition("/")
    return AuthorizationAttributes(user, atom[0], atom[1], "v1", plural, subresource, atom[4], atom[3])


def check_decisions(world: World) -> None:
    """The authorizer says of everybody and of everything what the model says."""
    for user in USERS:
        outright, own = world.held(user, own=False), world.held(user, own=True)
        who = User(user)
        for atom in EVERYTHING:
            decision = finished(world.roles.authorizer.authorize(_asked(who, atom)))
            assert decision.is_outright == (atom in outright), (user, atom)
            assert decision.allowed == (atom in outright or atom in own), (user, atom)


def check(given_at_first: list[Object], tries: list[Try]) -> None:
    world = World()
    for obj in given_at_first:
        world.write(User("admin", ("system:masters",)), obj)
    world.gather()
    check_decisions(world)
    for name, tried in tries:
        obj = (tried.of(world) if isinstance(tried, Twist) else tried) or {}
        if not obj:
            continue
        before = {user: (world.held(user, own=False), world.held(user, own=True)) for user in USERS}
        old = world.get(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if old == obj or (old is not None and "roleRef" in old and old["roleRef"] != obj["roleRef"]):
            continue
        expected, is_exempt = world.allows(name, obj, old)
        assert world.write(User(name), obj) is expected, (name, obj)
        world.gather()
        if is_exempt:
            continue
        handed_on = before[name][0]
        for user, (outright, own) in before.items():
            assert world.held(user, own=False) <= outright | handed_on, (user, name, obj)
            assert world.held(user, own=True) <= own | handed_on, (user, name, obj)
    check_decisions(world)


@settings(max_examples=80, deadline=None)
@given(BEGINNINGS, TRIES)
def test_nobody_reaches_what_was_not_given_to_them(given_at_first: list[Object], tries: list[Try]) -> None:
    check(given_at_first, tries)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(BEGINNINGS, TRIES)
def test_nobody_reaches_it_whatever_they_try(given_at_first: list[Object], tries: list[Try]) -> None:
    check(given_at_first, tries)
