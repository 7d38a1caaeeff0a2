"""The rules of metadata maps: what a label key, a label value and an annotation may be, in Kubernetes' words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Cause
from .wording import invalid, too_long

NAME_MAX = 63
PREFIX_MAX = 253
ANNOTATIONS_BYTES_MAX = 256 * 1024
"""Bytes of all annotation keys and values of an object together (Kubernetes' TotalAnnotationSizeLimitB)."""

_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_NAME})?"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

_is_name = re.compile(_NAME).fullmatch
_is_value = re.compile(_VALUE).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch

_NAME_HINT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
)
_VALUE_HINT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)
_SUBDOMAIN_HINT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)


@dataclass(frozen=True, slots=True)
class MapRule:
    """A rule of a map of strings: patterns for the Rust pass, which may refuse too much, and the whole truth."""

    key_pattern: str
    value_pattern: str | None
    value_length_max: int | None
    bytes_max: int | None
    explain: Callable[[Mapping[str, Any], str], Iterator[Cause]]


def qualified_name_problems(text: str) -> list[str]:
    """What is wrong with `text` as a label or annotation key (`[prefix/]name`); empty when nothing is."""
    prefix, slash, name = text.rpartition("/")
    problems: list[str] = []
    if "/" in prefix:
        return [
            f"a qualified name {_NAME_HINT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in subdomain_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > NAME_MAX:
        problems.append(f"name part must be no more than {NAME_MAX} bytes")
    if not _is_name(name):
        problems.append(f"name part {_NAME_HINT}")
    return problems


def subdomain_problems(text: str) -> list[str]:
    """What is wrong with `text` as an RFC 1123 subdomain; empty when nothing is."""
    problems = [f"must be no more than {PREFIX_MAX} bytes"] if len(text) > PREFIX_MAX else []
    return problems if _is_subdomain(text) else [*problems, _SUBDOMAIN_HINT]


def label_value_problems(text: str) -> list[str]:
    """What is wrong with `text` as the value of a label; empty when nothing is."""
    problems = [f"must be no more than {NAME_MAX} bytes"] if len(text) > NAME_MAX else []
    return problems if _is_value(text) else [*problems, _VALUE_HINT]


def _explain_labels(labels: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for key, value in labels.items():
        for problem in qualified_name_problems(key):
            yield invalid(path, key, problem)
        if isinstance(value, str):
            for problem in label_value_problems(value):
                yield invalid(path, value, problem)


def _explain_annotations(annotations: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for key in annotations:
        # Kubernetes looks at the lower-cased key here: historically annotation prefixes may have capitals.
        for problem in qualified_name_problems(key.lower()):
            yield invalid(path, key, problem)
    if map_bytes(annotations) > ANNOTATIONS_BYTES_MAX:
        yield too_long(path, ANNOTATIONS_BYTES_MAX)


def map_bytes(values: Mapping[str, Any]) -> int:
    """Bytes of all keys and string values, in UTF-8."""
    texts = (*values.keys(), *(value for value in values.values() if isinstance(value, str)))
    characters = sum(map(len, texts))
    # A character has at most four bytes, so that small maps (all but a few) need no encoding.
    return characters if characters * 4 <= ANNOTATIONS_BYTES_MAX else sum(len(text.encode()) for text in texts)


# The whole name is short of 63 characters by construction; prefixes past 253 are so rare that the Rust pass refuses
# long keys altogether and leaves the verdict to `explain`.
_KEY = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_LABEL = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"

LABELS = MapRule(_KEY, _LABEL, NAME_MAX, None, _explain_labels)
ANNOTATIONS = MapRule(_KEY, None, None, ANNOTATIONS_BYTES_MAX, _explain_annotations)
