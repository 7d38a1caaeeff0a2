"""The one place that knows `cel_expr_python`: what parses and checks expressions. It is imported when first needed.

The package has wheels for some platforms only; where it is missing the server runs, and whoever brings an expression is
told. What it gives us is the syntax and the types; we declare Kubernetes' functions to it and evaluate ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from .errors import CompileError, EvaluationError, Unavailable

EXPRESSION_LENGTH_MAX = 10_000
"""Characters of an expression. The longest of public CRDs have about a thousand; the parser is quick, but not free."""
EXTENSIONS = ("optional", "two-var-comprehensions")
"""The package's own extensions that every expression may use."""
CONFIGS_MAX = 64
"""Environments' configurations that are kept."""

if TYPE_CHECKING:
    from .library import Overload

_STATUS = re.compile(r"^[A-Z_]+: ")
_TRAILER = re.compile(r" \[[A-Z_]+\]$")
_FIELD = re.compile(r"(undefined field '[^']*') not found in struct '[^']*'")


@cache
def module() -> ModuleType:
    """`cel_expr_python.cel`. Raises Unavailable."""
    try:
        from cel_expr_python import cel
    except ImportError as error:
        raise Unavailable(
            "expressions cannot be compiled: the Python package cel-expr-python is not installed, or has no wheel for "
            f"this platform ({error})"
        ) from error
    found: ModuleType = cel
    return found


@lru_cache(maxsize=CONFIGS_MAX)
def _config(extensions: tuple[str, ...], variables: tuple[tuple[str, str], ...], functions: bool) -> Any:
    """The environment in the package's configuration language: the only way in which it reads type parameters right."""
    parts = [f'"name": "kubernetes", "extensions": {_json([{"name": name} for name in extensions])}']
    if variables:
        named = [{"name": name, **_type(signature)} for name, signature in variables]
        parts.append(f'"variables": {_json(named)}')
    if functions:
        parts.append(f'"functions": {_declarations()}, "stdlib": {_replaced()}')
    return module().NewEnvConfigFromYaml("{" + ", ".join(parts) + "}")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


@cache
def _declarations() -> str:
    from .library import declared

    return _json(
        [{"name": name, "overloads": [_overload(item) for item in overloads]} for name, overloads in declared().items()]
    )


def _replaced() -> str:
    """What we declare instead of the package's own: it takes a function from one place only."""
    from .library import REDECLARED

    names = sorted({overload.function for overload in REDECLARED})
    return _json({"exclude_functions": [{"name": name} for name in names]})


def _overload(overload: Overload) -> dict[str, Any]:
    types = [_type(param) for param in overload.params]
    receiver = {"target": types.pop(0)} if overload.member else {}
    return {"id": overload.id, **receiver, "args": types, "return": _type(overload.result)}


@cache
def _type(signature: str) -> dict[str, Any]:
    """`map<string, ~V>` as the configuration spells it."""
    name, opened, inner = signature.partition("<")
    if name.startswith("~"):
        return {"type_name": name[1:], "is_type_param": True}
    if not opened:
        return {"type_name": name}
    return {"type_name": name, "params": [_type(part) for part in _split(inner[:-1])]}


def _split(params: str) -> list[str]:
    """The types between commas that are not inside another type."""
    found, depth, start = [], 0, 0
    for at, char in enumerate(params):
        depth += (char == "<") - (char == ">")
        if char == "," and depth == 0:
            found.append(params[start:at].strip())
            start = at + 1
    return [*found, params[start:].strip()]


class Environment:
    """Names and types that expressions are compiled in."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def check(self, expression: str) -> bytes:
        """The checked expression, serialized. Raises CompileError."""
        return bytes(self.compile(expression).serialize())

    def compile(self, expression: str) -> Any:
        """The package's own compiled expression. Raises CompileError."""
        if len(expression) > EXPRESSION_LENGTH_MAX:
            raise CompileError(f"compilation failed: expression is longer than {EXPRESSION_LENGTH_MAX} characters")
        try:
            return self._env.compile(expression)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CompileError(f"compilation failed: {_worded(expression, error)}") from None


def environment(
    variables: Mapping[str, str], extensions: tuple[str, ...] = EXTENSIONS, pool: Any = None, *, functions: bool = False
) -> Environment:
    """An environment with these variables, by their types' signatures. `functions` adds Kubernetes' libraries.

    Raises Unavailable.
    """
    more: dict[str, Any] = {} if pool is None else {"descriptor_pool": pool}
    # Reading a configuration takes ten times as long as making an environment of it, so that variables are best given
    # apart. Only an optional one has to be in it: elsewhere the package misreads that type.
    apart = {name: signature for name, signature in variables.items() if "optional_type" not in signature}
    within = tuple((name, signature) for name, signature in variables.items() if name not in apart)
    typed = {name: module().Type(signature) for name, signature in apart.items()}
    return Environment(module().NewEnv(config=_config(extensions, within, functions), variables=typed, **more))


def plain(compiled: Any, values: Mapping[str, Any]) -> Any:
    """Evaluate by the package itself: for its regular expressions. Raises EvaluationError."""
    try:
        found = compiled.eval(data=dict(values))
        name = found.type().name()
        value = found.plain_value()
    except (RuntimeError, TypeError, ValueError) as error:
        raise EvaluationError(_TRAILER.sub("", str(error))) from None
    if name == "ERROR":
        raise EvaluationError(str(value))
    return value


def _worded(expression: str, error: Exception) -> str:
    """What the compiler says, as Kubernetes' compiler words it."""
    if isinstance(error, TypeError):
        return "ERROR: <input>:1:1: Syntax error: the expression is not valid Unicode"
    text = _TRAILER.sub("", _STATUS.sub("", str(error), count=1))
    return _FIELD.sub(r"\1", text)
