"""The string formats that are enforced; any other name is documentation and lets everything pass, as in Kubernetes.

Most are one regular expression, so that the Rust pass checks them itself. The few that are not (addresses, calendar
dates) are functions.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import date

from .patterns import matches

_DURATION_UNIT = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(ns|us|µs|μs|ms|s|m|h|d|w|[a-zA-Z]*(second|minute|hour|day|week)s?)"

_SIXTY_FOUR = r"([A-Za-z0-9+/][\r\n]*)"
"""A sign of base64. Go's decoder passes over line breaks, and certificates are encoded with them."""

PATTERNS: dict[str, str] = {
    "byte": rf"^[\r\n]*({_SIXTY_FOUR}{{4}})*({_SIXTY_FOUR}{{2}}(=[\r\n]*){{2}}|{_SIXTY_FOUR}{{3}}=[\r\n]*)?$",
    "duration": rf"^[+-]?(0|({_DURATION_UNIT}\s*)+)$",
    "uri": r"^([a-zA-Z][a-zA-Z0-9+.-]*:[^\s]+|/[^\s]*)$",
    "email": r"^[^@\s<>]+@[^@\s<>]+$",
    "hostname": r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$",
    "mac": r"^([0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}([:-][0-9A-Fa-f]{2}){0,2}|([0-9A-Fa-f]{4}\.){2,3}[0-9A-Fa-f]{4})$",
    "uuid": r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$",
    "uuid3": r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$",
    "uuid4": r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$",
    "uuid5": r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$",
    "hexcolor": r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$",
    "bsonobjectid": r"^[0-9a-fA-F]{24}$",
    "date-time": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})$",
}
PATTERNS["datetime"] = PATTERNS["date-time"]


def _address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version and "%" not in text
        except ValueError:
            return False

    return check


def _network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False


FUNCTIONS: dict[str, Callable[[str], bool]] = {
    "ipv4": _address(4),
    "ipv6": _address(6),
    "cidr": _network,
    "date": _date,
}


def fits(name: str, text: str) -> bool:
    """`text` is of that format. True for a format nobody enforces."""
    pattern = PATTERNS.get(name)
    if pattern is not None:
        return matches(pattern, text)
    function = FUNCTIONS.get(name)
    return function is None or function(text)
