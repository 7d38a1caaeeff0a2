"""Property names as fields of an expression: what is no identifier, or is a keyword of CEL, is written escaped.

https://kubernetes.io/docs/reference/using-api/cel/#escaping: `__` is `__underscores__`, `.` is `__dot__`, and so on.
"""

from __future__ import annotations

import re
from functools import lru_cache

KEYWORDS = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
"""Words that CEL reserves; as a property each is written `__word__`."""
_SIGNS = {"__": "underscores", ".": "dot", "-": "dash", "/": "slash"}
_ACCESSIBLE = re.compile(r"[A-Za-z_.\-/][A-Za-z0-9_.\-/]*")
_ESCAPABLE = re.compile(r"__|[.\-/]")
_ESCAPED = re.compile("__(underscores|dot|dash|slash)__")
_BACK = {word: sign for sign, word in _SIGNS.items()}


@lru_cache(maxsize=4_096)
def escape(name: str) -> str | None:
    """The identifier that stands for the property; None for a property that no expression can name."""
    if name in KEYWORDS:
        return f"__{name}__"
    if not _ACCESSIBLE.fullmatch(name):
        return None
    return _ESCAPABLE.sub(lambda match: f"__{_SIGNS[match[0]]}__", name)


@lru_cache(maxsize=4_096)
def unescape(identifier: str) -> str:
    """The property that the identifier stands for."""
    if identifier.startswith("__") and identifier[2:-2] in KEYWORDS and identifier.endswith("__"):
        return identifier[2:-2]
    return _ESCAPED.sub(lambda match: _BACK[match[1]], identifier)
