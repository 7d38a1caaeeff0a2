"""Kubernetes' named formats: `format.named('dns1123Label')`, `format.dns1123Label().validate(text)`.

`validate` gives nothing for a text that is right, and otherwise every reason why it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stark.crds.names import dns_label_1035_problems, dns_label_problems

from ...schema import formats as schema_formats
from ...schema.rules import label_value_problems, qualified_name_problems, subdomain_problems
from ..errors import EvaluationError
from ..frame import Frame
from ..values import NONE, Opaque, Optional
from . import times
from .networks import parse_url
from .registry import Overload, function, member

Problems = Callable[[str], list[str]]


class NamedFormat(Opaque):
    """A format and what it complains about."""

    __slots__ = ("name", "problems")
    TYPE = "kubernetes.NamedFormat"

    def __init__(self, name: str, problems: Problems) -> None:
        self.name, self.problems = name, problems

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedFormat) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def _prefix(problems: Problems) -> Problems:
    """Of a name that something is appended to: what comes last may be a dash."""

    def judge(text: str) -> list[str]:
        return problems(f"{text[:-1]}a" if text.endswith("-") else text)

    return judge


def _read(parse: Callable[[str], Any], complaint: str) -> Problems:
    def problems(text: str) -> list[str]:
        try:
            parse(text)
        except ValueError:
            return [complaint]
        return []

    return problems


def _schema(name: str, complaint: str) -> Problems:
    return lambda text: [] if schema_formats.fits(name, text) else [complaint]


def _date(text: str) -> None:
    if not schema_formats.fits("date", text):
        raise ValueError(text)


_NAMED: dict[str, Problems] = {
    "dns1123Label": dns_label_problems,
    "dns1123Subdomain": subdomain_problems,
    "dns1035Label": dns_label_1035_problems,
    "dns1123LabelPrefix": _prefix(dns_label_problems),
    "dns1123SubdomainPrefix": _prefix(subdomain_problems),
    "dns1035LabelPrefix": _prefix(dns_label_1035_problems),
    "qualifiedName": qualified_name_problems,
    "labelValue": label_value_problems,
    "uri": _read(parse_url, "invalid URI"),
    "uuid": _schema("uuid", "does not match the UUID format"),
    "byte": _schema("byte", "invalid base64"),
    "date": _read(_date, "invalid date"),
    "datetime": _read(times.parse_timestamp, "invalid datetime"),
}
_FORMATS = {name: NamedFormat(name, problems) for name, problems in _NAMED.items()}


def _named(frame: Frame, name: str) -> Optional:
    frame.pay(1)
    found = _FORMATS.get(name)
    return Optional(True, found) if found is not None else NONE


def _get(named: NamedFormat) -> Callable[[Frame], NamedFormat]:
    def get(frame: Frame) -> NamedFormat:
        frame.pay(1)
        return named

    return get


def _validate(frame: Frame, named: NamedFormat, text: str) -> Optional:
    frame.pay_for(max(1, len(text)))
    try:
        problems = named.problems(text)
    except RecursionError:
        raise EvaluationError("the text is too long") from None
    return Optional(True, problems) if problems else NONE


OVERLOADS: list[Overload] = [
    function("format.named", "string", f"optional_type<{NamedFormat.TYPE}>", _named),
    *(function(f"format.{name}", "", NamedFormat.TYPE, _get(named)) for name, named in _FORMATS.items()),
    member("validate", f"{NamedFormat.TYPE}; string", "optional_type<list<string>>", _validate),
]
