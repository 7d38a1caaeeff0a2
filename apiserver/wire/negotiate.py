"""Which form of an answer a client's Accept header asks for, and what to call it in Content-Type.

kubectl asks for a Table and names plain JSON as its second choice; informers of metadata ask for PartialObjectMetadata;
typed Go clients ask for protobuf first and JSON second. We answer with the first entry that we have: unknown media
types and unknown `as=` kinds are skipped, and only when nothing is left is it 406.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from ..errors import NotAcceptable

JSON = "application/json"
YAML = "application/yaml"
ACCEPT_ENTRIES_MAX = 32
"""Entries of an Accept header that are looked at; the rest is ignored. Real clients send at most five."""

_META_GROUP = "meta.k8s.io"
_WILDCARDS = ("*/*", "application/*")


class Form(Enum):
    """What the body is to hold."""

    OBJECT = "Object"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outcome of a negotiation. `version` is that of meta.k8s.io (`v1` or `v1beta1`) for the forms that have one."""

    form: Form = Form.OBJECT
    version: str = "v1"
    media_type: str = JSON

    @property
    def is_yaml(self) -> bool:
        """The client reads YAML and not JSON."""
        return self.media_type == YAML


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an Accept header: a media type and its parameters, names and values as given."""

    type: str
    parameters: dict[str, str]


def parse_accept(header: str) -> list[MediaRange]:
    """The entries in order of preference: by `q` (entries with q=0 are left out), and as written among equals."""
    weighted: list[tuple[float, MediaRange]] = []
    for entry in header.split(",")[:ACCEPT_ENTRIES_MAX]:
        type_, *rest = (part.strip() for part in entry.split(";"))
        if not type_:
            continue
        pairs = (part.partition("=") for part in rest if part)
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        weight = _weight(parameters.pop("q", "1"))
        if weight > 0:
            weighted.append((weight, MediaRange(type_.lower(), parameters)))
    weighted.sort(key=lambda pair: -pair[0])
    return [entry for _, entry in weighted]


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


ALL_FORMS = frozenset(Form)
PLAIN = frozenset({Form.OBJECT})
"""What discovery and the like can be answered with."""


@lru_cache(maxsize=512)
def negotiate(accept: str, forms: frozenset[Form] = ALL_FORMS, *, yaml: bool = True) -> Accepted:
    """The first entry of `accept` that can be given, of the `forms` this request can be answered with.

    An empty header, `*/*` and `application/*` mean JSON. `yaml` says whether YAML is offered (not for watches).
    Raises NotAcceptable, in Kubernetes' words, when nothing fits.
    """
    if not accept.strip():
        return Accepted()
    for entry in parse_accept(accept):
        found = _offer(entry, forms, yaml)
        if found is not None:
            return found
    raise not_acceptable((JSON, YAML) if yaml else (JSON,))


def _offer(entry: MediaRange, forms: Collection[Form], yaml: bool) -> Accepted | None:
    media_type = JSON if entry.type in _WILDCARDS or entry.type == "text/json" else entry.type
    if media_type in ("text/yaml", "application/x-yaml"):
        media_type = YAML
    if media_type != JSON and not (yaml and media_type == YAML):
        return None
    kind = entry.parameters.get("as")
    if kind is None:
        return Accepted(Form.OBJECT, "v1", media_type)
    version, group = entry.parameters.get("v", ""), entry.parameters.get("g", "")
    if group != _META_GROUP or version not in ("v1", "v1beta1"):
        return None
    form = next((form for form in forms if form.value == kind and form is not Form.OBJECT), None)
    return Accepted(form, version, media_type) if form is not None else None


def not_acceptable(offered: Collection[str]) -> NotAcceptable:
    """The 406 with Kubernetes' message, which names what would have been acceptable."""
    return NotAcceptable(f"only the following media types are accepted: {', '.join(offered)}")
