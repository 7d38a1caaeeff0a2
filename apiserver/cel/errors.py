"""What can go wrong with an expression: it does not compile, has no value, costs too much, or nobody can read it."""

from __future__ import annotations


class CelError(Exception):
    """Any trouble with an expression. `str(error)` is the text a user is shown."""


class Unavailable(CelError):
    """The evaluator's package is not installed: there are platforms that it has no wheel for."""


class CompileError(CelError):
    """The expression is wrong as it stands: syntax, an unknown name or field, types that do not fit."""


class EvaluationError(CelError):
    """The expression is right and this evaluation of it has no value: no such key, division by zero."""


class NoSuchOverload(EvaluationError):
    """Operands whose types only showed up while evaluating, and that the operator or function does not take."""

    def __init__(self) -> None:
        super().__init__("no such overload")


class BudgetExceeded(CelError):
    """The evaluation was stopped because it cost more than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")
