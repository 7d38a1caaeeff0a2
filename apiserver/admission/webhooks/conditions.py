"""Match conditions: CEL expressions that must all hold for a write to concern a webhook.

One that is false decides, whatever happened to the others; one that could not be evaluated decides only when none is
false, and then as the failure policy says (apiserver/pkg/admission/plugin/webhook/matchconditions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ...cel import (
    PER_CALL_LIMIT,
    BudgetExceeded,
    CelError,
    CompileError,
    EvaluationError,
    Program,
    Unavailable,
    offload,
)
from ...cel.conditions import PolicyScope
from ...errors import Cause
from ..authorizing import Checks
from ..complaints import bad_value
from .configurations import ConditionFailed

REQUEST_BUDGET: Final = 2_500_000
"""Units of cost for all conditions of one webhook and one write (Kubernetes' RuntimeCELCostBudgetMatchConditions)."""

Mapped = Mapping[str, Any]


class MatchConditions:
    """The conditions of one webhook; compiled, aside of the event loop, when they are first asked."""

    def __init__(self, conditions: Sequence[Mapped]) -> None:
        self._expressions = [condition["expression"] for condition in conditions]
        self._compiled: tuple[PolicyScope, list[Program]] | None = None

    async def hold(self, request: Mapped, obj: Mapped | None, old: Mapped | None, checks: Checks) -> bool:
        """Whether all hold. Raises ConditionFailed when that cannot be told."""
        scope, programs = await self._programs()
        values = scope.bind(request=request, new=obj, old=old, checks=checks.values)
        left, failed = REQUEST_BUDGET, []
        for program in programs:
            try:
                done = await checks.evaluate(partial(program.evaluate, values), min(PER_CALL_LIMIT, left))
            except (EvaluationError, BudgetExceeded) as error:
                failed.append(f"expression '{program.expression}' resulted in error: {error}")
                left -= PER_CALL_LIMIT if isinstance(error, BudgetExceeded) else 0
                continue
            if done.value is False:
                return False
            left -= done.cost
        if failed:
            raise ConditionFailed(failed[0] if len(failed) == 1 else f"[{', '.join(failed)}]")
        return True

    async def _programs(self) -> tuple[PolicyScope, list[Program]]:
        if self._compiled is None:
            try:
                self._compiled = await offload.aside(self._compile)
            except CelError as error:  # stored where other expressions compiled than here
                raise ConditionFailed(str(error)) from error
        return self._compiled

    def _compile(self) -> tuple[PolicyScope, list[Program]]:
        scope = PolicyScope(namespace=False)
        return scope, [scope.compile(expression) for expression in self._expressions]


def expression_causes(webhooks: Sequence[Mapped], known: Sequence[Mapped]) -> list[Cause]:
    """What is wrong with the expressions of webhooks; those that are among the `known` conditions are let pass."""
    accepted = {condition["expression"] for webhook in known for condition in webhook.get("matchConditions") or ()}
    scope, found = PolicyScope(namespace=False), []
    for path, expression in _expressions(webhooks):
        if expression in accepted:
            continue
        try:
            scope.compile(expression)
        except (CompileError, Unavailable) as error:
            found.append(bad_value(path, expression, str(error)))
        accepted.add(expression)
    return found


def _expressions(webhooks: Sequence[Mapped]) -> Iterator[tuple[str, str]]:
    for number, webhook in enumerate(webhooks):
        for index, condition in enumerate(webhook.get("matchConditions") or ()):
            yield f"webhooks[{number}].matchConditions[{index}].expression", condition["expression"]
