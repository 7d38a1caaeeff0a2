"""What clients say in the query string and in DeleteOptions, parsed and checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from stark.crds.selectors import SelectorError, parse_field_selector, parse_label_selector

from ..admission.attributes import Premise
from ..cache.entry import OWNER_PATH
from ..cache.filter import FieldTest, Filter
from ..errors import BadRequest, Cause, Invalid
from ..request import Query, User
from ..resources import Resource
from .along import Along
from .strategies import strategy_of

NOT_OLDER_THAN: Final = "NotOlderThan"
EXACT: Final = "Exact"
VALIDATIONS: Final = ("Ignore", "Warn", "Strict")
PROPAGATIONS: Final = ("Orphan", "Background", "Foreground")
MANAGER_LENGTH_MAX: Final = 128
"""Of a field manager's name, as in Kubernetes."""
PROGRAMS_REMEMBERED: Final = 512
"""User agents of which the program's name is kept."""
SERVER_MANAGER: Final = "stark-apiserver"
"""What the server itself writes as."""
DECIMAL_DIGITS_MAX: Final = 18
"""Longest number we read: it still fits 64 bits."""


@dataclass(frozen=True, slots=True)
class Own:
    """A request may reach the objects of these owners and no others. `user` and `verb` are for the refusal."""

    owners: frozenset[str]
    user: str
    verb: str
    reads: bool = False
    """It changes nothing, so that it may also reach what is there for everybody: public packs."""


@dataclass(slots=True, unsafe_hash=True)
class Target:
    """What a request is about. Never changed; not frozen by the dataclass for the reason that `Asked` is not."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    own: Own | None = None
    """Set when the request reaches some people's objects only; see `owning`."""


@dataclass(slots=True)
class Writing:
    """Who writes, and how. `warnings` collects what the client should be told."""

    user: User
    dry_run: bool = False
    validation: str = "Warn"
    checks_duplicates: bool = False
    """The client asked about its fields itself: then duplicate keys are worth a slow second parse."""
    warnings: list[str] = field(default_factory=list)
    manager: str = SERVER_MANAGER
    """Whose the fields become, in managedFields."""
    applies: bool = False
    """A server-side apply: the record of owners has been made already."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """The options that the client gave, in wire form: those outside who judge the write are told."""
    audit: dict[str, str] = field(default_factory=dict)
    """What was noted about the write for the audit log."""
    consults: bool = True
    """Whether those outside are asked: not about what the server writes by itself."""
    along: Along | None = None
    """Of a create: what else is to happen in the same commit."""
    restricted: bool = False
    """The user may do this to their own objects only: what is created bears that mark."""
    incarnation: str = ""
    """For which life of its node an agent says that it speaks."""
    premises: list[Premise] = field(default_factory=list)
    """Of one write: where admission leaves what its decision rests on."""


def writing(
    query: Query, user: User, warnings: list[str], user_agent: str = "", audit: dict[str, str] | None = None
) -> Writing:
    """The options of a write. Raises Invalid."""
    audit = {} if audit is None else audit
    if not query.raw:
        return Writing(user, False, "Warn", False, warnings, _program(user_agent), audit=audit)
    validation = query.first("fieldValidation")
    if validation and validation not in VALIDATIONS:
        raise _unsupported("fieldValidation", validation, VALIDATIONS)
    return Writing(
        user,
        dry_run(query.all("dryRun")),
        validation or "Warn",
        validation in ("Warn", "Strict"),
        warnings,
        _manager(query.first("fieldManager"), user_agent),
        given={name: query.first(name) for name in ("fieldManager", "fieldValidation") if query.first(name)},
        audit=audit,
    )


def _manager(given: str, user_agent: str) -> str:
    """The name the client gives itself, else that of its program. Raises Invalid."""
    if len(given) > MANAGER_LENGTH_MAX:
        raise _invalid_patch(
            "fieldManager", f"Too long: may not be more than {MANAGER_LENGTH_MAX} bytes", "FieldValueTooLong"
        )
    if not given.isprintable():
        raise _invalid_patch("fieldManager", f'Invalid value: "{given}": should only contain printable characters')
    return given or _program(user_agent)


@lru_cache(PROGRAMS_REMEMBERED)
def _program(user_agent: str) -> str:
    """What a client calls itself, without its version."""
    program = "".join(sign for sign in user_agent.partition("/")[0] if sign.isprintable())
    return program[:MANAGER_LENGTH_MAX] or "unknown"


def applying(query: Query) -> bool:
    """Whether an apply is forced. Raises Invalid without a fieldManager: who applies must say who that is."""
    if not query.first("fieldManager"):
        raise _invalid_patch("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
    return query.flag("force")


def not_applying(query: Query) -> None:
    """Only an apply can be forced. Raises Invalid."""
    if "force" in query:
        raise _invalid_patch("force", "Forbidden: may not be specified for non-apply patch", "FieldValueForbidden")


def _invalid_patch(name: str, message: str, reason: str = "FieldValueInvalid") -> Invalid:
    cause = Cause(name, message, reason)
    return Invalid(f"PatchOptions.meta.k8s.io is invalid: {name}: {message}", group="meta.k8s.io", causes=[cause])


def dry_run(values: Any) -> bool:
    """True for `All`, the only value there is. Raises Invalid."""
    for value in values if isinstance(values, Sequence) else (values,):
        if value != "All":
            raise _unsupported("dryRun", value, ("All",))
    return bool(values)


def _unsupported(name: str, value: object, supported: tuple[str, ...]) -> Invalid:
    shown = ", ".join(f'"{item}"' for item in supported)
    message = f'Unsupported value: "{value}": supported values: {shown}'
    cause = Cause(name, message, "FieldValueNotSupported")
    return Invalid(f"Options.meta.k8s.io is invalid: {name}: {message}", group="meta.k8s.io", causes=[cause])


@dataclass(frozen=True, slots=True)
class Listing:
    """A list or a watch: what, from where, how much of it. `resource_version` is None when it was not given."""

    wanted: Filter
    resource_version: int | None = None
    match: str = ""
    limit: int = 0
    continue_token: str = ""
    timeout_s: int = 0
    bookmarks: bool = False
    initial_events: bool | None = None


def listing(query: Query, target: Target, paths: tuple[str, ...]) -> Listing:
    """The options of a list or watch; `paths` are the field paths the cache has. Raises BadRequest, Invalid."""
    options = Listing(
        wanted=wanted(query, target, paths),
        resource_version=parse_revision(query.first("resourceVersion")),
        match=query.first("resourceVersionMatch"),
        limit=_number(query, "limit"),
        continue_token=query.first("continue"),
        timeout_s=_number(query, "timeoutSeconds"),
        bookmarks=query.flag("allowWatchBookmarks"),
        initial_events=query.flag("sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    _check_match(options, is_watch=query.flag("watch"))
    return options


def _check_match(options: Listing, *, is_watch: bool) -> None:
    """The combinations Kubernetes forbids (apimachinery/pkg/apis/meta/internalversion/validation)."""
    match, version = options.match, options.resource_version
    if is_watch and options.initial_events is None and match:
        raise _forbidden(
            "resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        )
    if options.initial_events is not None:
        if not is_watch:
            raise _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
        if match != NOT_OLDER_THAN:
            raise _forbidden(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        return
    if not match:
        return
    if match not in (EXACT, NOT_OLDER_THAN):
        raise _unsupported("resourceVersionMatch", match, (EXACT, NOT_OLDER_THAN, ""))
    if version is None:
        raise _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
    if options.continue_token:
        raise _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
    if match == EXACT and version == 0:
        raise _forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _forbidden(name: str, why: str) -> Invalid:
    cause = Cause(name, f"Forbidden: {why}", "FieldValueForbidden")
    return Invalid(f"ListOptions.meta.k8s.io is invalid: {name}: Forbidden: {why}", group="meta.k8s.io", causes=[cause])


def _number(query: Query, name: str) -> int:
    text = query.first(name)
    if not text:
        return 0
    if not text.isdecimal() or len(text) > DECIMAL_DIGITS_MAX:
        raise BadRequest(f'{name}: Invalid value: "{text}": must be a non-negative number')
    return int(text)


def parse_revision(text: str) -> int | None:
    """A resourceVersion; None when it is empty. Raises BadRequest."""
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > DECIMAL_DIGITS_MAX:
        raise BadRequest(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def _offers(resource: Resource, path: str) -> bool:
    """The version has the selectable field: others of the kind may have more, and share its cache (KEP-4358)."""
    return path in resource.selectable_fields if resource.custom else path != OWNER_PATH


def wanted(query: Query, target: Target, paths: tuple[str, ...]) -> Filter:
    """The selectors, compiled. Raises BadRequest."""
    label_text, field_text = query.first("labelSelector"), query.first("fieldSelector")
    if not label_text and not field_text:
        return Filter(namespace=target.namespace, name=target.name, identity=f"{target.namespace}/{target.name}")
    try:
        labels, fields = parse_label_selector(label_text), parse_field_selector(field_text)
    except SelectorError as error:
        raise BadRequest(f"unable to parse requirement: {error}") from error
    equal = tuple((r.key, r.values[0]) for r in labels.requirements if r.operator == "in" and len(r.values) == 1)
    says_everything = len(equal) == len(labels.requirements)
    name, namespace = target.name, target.namespace
    view = strategy_of(target.resource).view
    tests: list[FieldTest] = []
    other: dict[str, list[str]] = {"metadata.name": [], "metadata.namespace": []}
    for requirement in fields.requirements:
        path = requirement.path if view is None else view.stored_path(requirement.path)
        if path in other:
            if not requirement.equal:
                other[path].append(requirement.value)
            elif path == "metadata.name":
                name = _same(name, requirement.value)
            else:
                namespace = _same(namespace, requirement.value)
        elif path in paths and _offers(target.resource, requirement.path):
            tests.append(FieldTest(paths.index(path), requirement.value, requirement.equal))
        else:
            raise BadRequest(f"field label not supported: {requirement.path}")
    return Filter(
        namespace,
        name,
        equal,
        None if says_everything else labels.matches,
        tuple(tests),
        other_names=tuple(other["metadata.name"]),
        other_namespaces=tuple(other["metadata.namespace"]),
        identity=f"{target.namespace}/{target.name}?{labels}&{fields}",
    )


NEVER = "\0"
"""A name no object has: two different values were demanded of one field."""


def _same(current: str, value: str) -> str:
    return value if current in ("", value) else NEVER


@dataclass(frozen=True, slots=True)
class Deletion:
    """DeleteOptions (meta/v1), from the body and the query together."""

    grace_period_s: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    def to_wire(self) -> dict[str, Any]:
        """As DeleteOptions again."""
        preconditions = {"uid": self.uid, "resourceVersion": self.resource_version}
        options = {
            "gracePeriodSeconds": self.grace_period_s,
            "preconditions": {name: value for name, value in preconditions.items() if value} or None,
            "propagationPolicy": self.propagation or None,
            "dryRun": ["All"] if self.dry_run else None,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", **given}


def member(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside a body that has no schema; empty when it is missing. Raises BadRequest."""
    found = body.get(name) or {}
    if not isinstance(found, Mapping):
        raise BadRequest(f"{name}: Invalid value: {found}: must be an object")
    return found


def deletion(query: Query, body: Mapping[str, Any]) -> Deletion:
    """The options of a delete. The body wins over the query. Raises BadRequest, Invalid."""
    preconditions = member(body, "preconditions")
    grace = body.get("gracePeriodSeconds")
    if grace is None and query.first("gracePeriodSeconds"):
        grace = _number(query, "gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise BadRequest(f"gracePeriodSeconds: Invalid value: {grace}: must be a whole number of seconds")
    propagation = body.get("propagationPolicy") or query.first("propagationPolicy")
    orphan = body.get("orphanDependents")
    if propagation and orphan is not None:
        raise _unsupported("propagationPolicy", propagation, ())
    if propagation and propagation not in PROPAGATIONS:
        raise _unsupported("propagationPolicy", propagation, PROPAGATIONS)
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    return Deletion(
        grace_period_s=None if grace is None else max(grace, 1 if grace < 0 else 0),
        propagation=propagation or "",
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        dry_run=dry_run(body.get("dryRun") or query.all("dryRun")),
    )
