"""What is wrong with a priority level or a flow schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stark.crds.flowcontrol import MATCHING_PRECEDENCE_MAX

from ..errors import Cause
from ..fairness.dealing import ENTROPY_BITS_MAX, entropy_bits
from ..fairness.objects import EXEMPT, fixed_spec
from .complaints import bad_value, not_allowed, not_supported, required

ANY: Final = "*"
QUEUES_MAX: Final = 10_000_000
"""Kubernetes' bound on the queues of a level; only those in use exist."""
VERBS: Final = frozenset(
    {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy", "connect", ANY}
)
PATH_VERBS: Final = frozenset({"get", "head", "post", "put", "patch", "delete", "options", ANY})
SUBJECTS: Final = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}

Mapped = Mapping[str, Any]


def priority_level_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a PriorityLevelConfiguration."""
    spec = obj["spec"]
    yield from _fixed(obj)
    if (obj["metadata"].get("name") == EXEMPT) != (spec["type"] == "Exempt"):
        yield bad_value("spec.type", spec["type"], "must be 'Exempt' if and only if `name` is 'exempt'")
    limited, exempt = spec.get("limited"), spec.get("exempt")
    if spec["type"] == "Exempt":
        if limited is not None:
            yield not_allowed("spec.limited", "must be nil if the type is not Limited")
        yield from _shares("spec.exempt", exempt or {})
        return
    if exempt is not None:
        yield not_allowed("spec.exempt", "must be nil if the type is Limited")
    if limited is None:
        yield required("spec.limited", "must not be empty when type is Limited")
        return
    yield from _shares("spec.limited", limited)
    if (limited.get("borrowingLimitPercent") or 0) < 0:
        path = "spec.limited.borrowingLimitPercent"
        yield bad_value(path, limited["borrowingLimitPercent"], "if specified, must be a non-negative integer")
    yield from _response(limited["limitResponse"])


def _fixed(obj: Mapped) -> Iterator[Cause]:
    wanted = fixed_spec(obj)
    if wanted is not None and wanted != obj["spec"]:
        yield bad_value("spec", obj["spec"], f"spec of '{obj['metadata']['name']}' must equal the fixed value")


def _shares(path: str, part: Mapped) -> Iterator[Cause]:
    shares, lendable = part.get("nominalConcurrencyShares", 0), part.get("lendablePercent", 0)
    if shares < 0:
        yield bad_value(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if not 0 <= lendable <= 100:
        yield bad_value(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")


def _response(response: Mapped) -> Iterator[Cause]:
    path, queuing = "spec.limited.limitResponse.queuing", response.get("queuing")
    if response["type"] == "Reject":
        if queuing is not None:
            yield not_allowed(path, "must be nil if limited.limitResponse.type is not Limited")
        return
    if queuing is None:
        yield required(path, "must not be empty if limited.limitResponse.type is Limited")
        return
    queues, hand = queuing["queues"], queuing["handSize"]
    for field in ("queues", "handSize", "queueLengthLimit"):
        if queuing[field] < 1:
            yield bad_value(f"{path}.{field}", queuing[field], "must be positive")
    if queues > QUEUES_MAX:
        yield bad_value(f"{path}.queues", queues, f"must not be greater than {QUEUES_MAX}")
    if hand > queues:
        text = f"should not be greater than queues ({queues})"
        yield bad_value(f"{path}.handSize", hand, text)
    elif hand > 0 and entropy_bits(queues, min(hand, ENTROPY_BITS_MAX + 1)) > ENTROPY_BITS_MAX:
        deck = f"deckSize {queues} and handSize {hand}"
        text = f"required entropy bits of {deck} should not be greater than {ENTROPY_BITS_MAX}"
        yield bad_value(f"{path}.handSize", hand, text)


def flow_schema_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a FlowSchema."""
    spec, name = obj["spec"], obj["metadata"].get("name")
    yield from _fixed(obj)
    precedence = spec["matchingPrecedence"]
    if not 0 < precedence <= MATCHING_PRECEDENCE_MAX:
        text = f"must be a value between 1 and {MATCHING_PRECEDENCE_MAX} (inclusive)"
        yield bad_value("spec.matchingPrecedence", precedence, text)
    if precedence == 1 and name != EXEMPT:
        text = f"only the schema named '{EXEMPT}' may have matchingPrecedence 1"
        yield bad_value("spec.matchingPrecedence", precedence, text)
    if not spec["priorityLevelConfiguration"]["name"]:
        yield required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    for at, rule in enumerate(spec.get("rules") or ()):
        yield from _rule(f"spec.rules[{at}]", rule)


def _rule(path: str, rule: Mapped) -> Iterator[Cause]:
    if not rule["subjects"]:
        yield required(f"{path}.subjects", "subjects must contain at least one value")
    for at, subject in enumerate(rule["subjects"]):
        yield from _subject(f"{path}.subjects[{at}]", subject)
    resources, paths = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not paths:
        yield required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for at, each in enumerate(resources):
        yield from _resource_rule(f"{path}.resourceRules[{at}]", each)
    for at, each in enumerate(paths):
        yield from _path_rule(f"{path}.nonResourceRules[{at}]", each)


def _subject(path: str, subject: Mapped) -> Iterator[Cause]:
    own = SUBJECTS[subject["kind"]]
    for kind, field in SUBJECTS.items():
        if field != own and subject.get(field) is not None:
            yield not_allowed(f"{path}.{field}", f"{field} is forbidden when subject kind is not {kind}")
    given = subject.get(own)
    if given is None:
        yield required(f"{path}.{own}", f"{own} is required when subject kind is {subject['kind']}")
        return
    for field, value in given.items():
        if not value:
            yield required(f"{path}.{own}.{field}")


def _resource_rule(path: str, rule: Mapped) -> Iterator[Cause]:
    yield from _values(f"{path}.verbs", rule["verbs"], VERBS)
    yield from _values(f"{path}.apiGroups", rule["apiGroups"])
    yield from _values(f"{path}.resources", rule["resources"])
    namespaces = rule.get("namespaces") or ()
    if not namespaces and not rule.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        yield required(f"{path}.namespaces", text)
    elif namespaces:
        yield from _values(f"{path}.namespaces", namespaces)


def _path_rule(path: str, rule: Mapped) -> Iterator[Cause]:
    yield from _values(f"{path}.verbs", rule["verbs"], PATH_VERBS)
    urls = rule["nonResourceURLs"]
    yield from _values(f"{path}.nonResourceURLs", urls)
    for at, url in enumerate(urls):
        where = f"{path}.nonResourceURLs[{at}]"
        if url == ANY:
            continue
        if not url.startswith("/"):
            yield bad_value(where, url, "must start with slash")
        elif " " in url or "//" in url:
            yield bad_value(where, url, "must not contain white-space or an empty part")
        elif ANY in url.removesuffix("/*"):
            yield bad_value(where, url, "wildcard can only do suffix matching")


def _values(path: str, values: Sequence[str], known: frozenset[str] = frozenset()) -> Iterator[Cause]:
    if not values:
        yield required(path, f"{path.rpartition('.')[2]} must contain at least one value")
    if ANY in values and len(values) > 1:
        yield bad_value(path, list(values), f"if '{ANY}' is present, must not specify other values")
    if known and not known.issuperset(values):
        yield not_supported(path, list(values), sorted(known))
