"""What names, labels and annotations may look like, with Kubernetes' message texts.

Each `*_problems` function gives every complaint about one value, an empty list when it is fine. Free of pydantic.
"""

from __future__ import annotations

import re
from functools import lru_cache

DNS_LABEL_LENGTH_MAX = 63
DNS_SUBDOMAIN_LENGTH_MAX = 253
LABEL_VALUE_LENGTH_MAX = 63
QUALIFIED_NAME_LENGTH_MAX = 63
ANNOTATIONS_SIZE_MAX = 256 * 1024
"""Bytes of all annotations of an object together, keys and values."""
PORT_NAME_LENGTH_MAX = 15
KEYS_REMEMBERED = 1_024
"""Keys of ConfigMaps whose judgement is kept."""

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

# Compiled once: Python's own cache of patterns costs more than the match.
_IS_LABEL = re.compile(_LABEL, re.ASCII)
_IS_LABEL_1035 = re.compile(_LABEL_1035, re.ASCII)
_IS_SUBDOMAIN = re.compile(_SUBDOMAIN, re.ASCII)
_IS_QUALIFIED = re.compile(_QUALIFIED, re.ASCII)
_IS_LABEL_VALUE = re.compile(rf"({_QUALIFIED})?", re.ASCII)
_IS_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+", re.ASCII)
_IS_ENV_NAME = re.compile(r"[ -<>-~]+")

_QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_QUALIFIED_EXAMPLES = ("MyName", "my.name", "123-abc")


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def _regex_problem(message: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def _check(value: str, pattern: re.Pattern[str], limit: int, message: str, *examples: str) -> list[str]:
    is_right = pattern.fullmatch(value) is not None
    if is_right and len(value) <= limit:  # every pattern is ASCII only: as many bytes as signs
        return []
    problems = [_too_long(limit)] if len(value.encode()) > limit else []
    if not is_right:
        problems.append(_regex_problem(message, pattern.pattern, *examples))
    return problems


def dns_label_problems(value: str) -> list[str]:
    """A DNS label (RFC 1123), as namespaces and containers are named."""
    return _check(
        value,
        _IS_LABEL,
        DNS_LABEL_LENGTH_MAX,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
        "and must start and end with an alphanumeric character",
        "my-name",
        "123-abc",
    )


def dns_label_1035_problems(value: str) -> list[str]:
    """A DNS label that begins with a letter (RFC 1035), as services and kinds' plurals are named."""
    return _check(
        value,
        _IS_LABEL_1035,
        DNS_LABEL_LENGTH_MAX,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
        "start with an alphabetic character, and end with an alphanumeric character",
        "my-name",
        "abc-123",
    )


def dns_subdomain_problems(value: str) -> list[str]:
    """A DNS subdomain (RFC 1123), as most objects are named."""
    if len(value) <= DNS_SUBDOMAIN_LENGTH_MAX and _IS_SUBDOMAIN.fullmatch(value):
        return []
    return _check(
        value,
        _IS_SUBDOMAIN,
        DNS_SUBDOMAIN_LENGTH_MAX,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        "and must start and end with an alphanumeric character",
        "example.com",
    )


def path_segment_problems(value: str) -> list[str]:
    """What may never be in a name, whatever the kind, because the name is part of a URL's path."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{sign}'" for sign in ("/", "%") if sign in value]


def label_key_problems(value: str) -> list[str]:
    """A qualified name, `[prefix/]name`, as keys of labels and annotations and finalizers are."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        named = _regex_problem(f"a qualified name {_QUALIFIED_MESSAGE}", _QUALIFIED, *_QUALIFIED_EXAMPLES)
        return [f"{named} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in dns_subdomain_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name.encode()) > QUALIFIED_NAME_LENGTH_MAX:
        problems.append(f"name part {_too_long(QUALIFIED_NAME_LENGTH_MAX)}")
    if _IS_QUALIFIED.fullmatch(name) is None:
        problems.append("name part " + _regex_problem(_QUALIFIED_MESSAGE, _QUALIFIED, *_QUALIFIED_EXAMPLES))
    return problems


def label_value_problems(value: str) -> list[str]:
    """A label's value: empty, or letters, digits, `-`, `_` and `.` with a letter or digit at both ends."""
    return _check(
        value,
        _IS_LABEL_VALUE,
        LABEL_VALUE_LENGTH_MAX,
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character",
        "MyValue",
        "my_value",
        "12345",
    )


@lru_cache(KEYS_REMEMBERED)
def is_config_key(value: str) -> bool:
    """Whether a ConfigMap or Secret may have such a key; most have the same few."""
    return value[:1] != "." and len(value) <= DNS_SUBDOMAIN_LENGTH_MAX and bool(_IS_CONFIG_KEY.fullmatch(value))


def config_key_problems(value: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    if is_config_key(value):
        return []
    problems = _check(
        value,
        _IS_CONFIG_KEY,
        DNS_SUBDOMAIN_LENGTH_MAX,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        "key.name",
        "KEY_NAME",
        "key-name",
    )
    if value == ".":
        problems.append("must not be '.'")
    elif value.startswith(".."):
        problems.append("must not be '..'" if value == ".." else "must not start with '..'")
    return problems


def env_name_problems(value: str) -> list[str]:
    """The name of an environment variable: printable ASCII without `=`."""
    if _IS_ENV_NAME.fullmatch(value):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def port_name_problems(value: str) -> list[str]:
    """The name of a port (an IANA service name)."""
    problems = [_too_long(PORT_NAME_LENGTH_MAX)] if len(value) > PORT_NAME_LENGTH_MAX else []
    if not re.fullmatch(r"[-a-z0-9]+", value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        problems.append("must not begin or end with a hyphen")
    return problems
