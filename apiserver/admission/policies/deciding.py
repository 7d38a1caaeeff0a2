"""What one policy says about one write: its conditions, then every validation, then its notes for the audit log.

Messages are Kubernetes' (apiserver/pkg/admission/plugin/policy/validating/validator.go).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...cel.errors import BudgetExceeded, CelError, CompileError, Unavailable
from ...cel.program import OBJECT_BUDGET, PER_CALL_LIMIT, Evaluated
from ..authorizing import Checks
from .compiled import Compiled, Judgement, Policy

MESSAGE_LENGTH_MAX: Final = 5 * 1024
"""Characters of a message that an expression makes."""
NOTE_LENGTH_MAX: Final = 10 * 1024
"""Characters of an audit annotation."""
NO_ERROR: Final = "no_error"

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of one expression."""

    allows: bool
    message: str = ""
    reason: str = "Invalid"
    error_type: str = NO_ERROR
    """For metrics: no_error, compile_error, invalid_error or out_of_budget."""
    index: int = 0
    """Which of the validations."""
    in_spite_of_actions: bool = False
    """It refuses whatever the binding's validationActions are."""


@dataclass(frozen=True, slots=True)
class Decided:
    """Everything a policy said."""

    decisions: Sequence[Decision] = ()
    notes: Mapping[str, str] | None = None


class Judge:
    """Evaluates one policy for one write, with one purse for all its expressions."""

    def __init__(self, policy: Policy, values: Values, checks: Checks) -> None:
        self._policy, self._values, self._checks = policy, values, checks
        self._left = OBJECT_BUDGET

    async def decide(self) -> Decided:
        """Every decision, in the order of the validations; none when the match conditions say it is not concerned."""
        concerned = await self._concerned()
        if not isinstance(concerned, bool):
            return Decided([concerned])
        if not concerned:
            return Decided()
        decisions = [await self._validate(index, each) for index, each in enumerate(self._policy.judgements)]
        notes: dict[str, str] = {}
        for key, compiled in self._policy.notes:
            try:
                value = await self._evaluate(compiled)
            except CelError as error:
                if not self._policy.fails_open:
                    said = Decision(False, _told(compiled, error), error_type=_type(error), in_spite_of_actions=True)
                    decisions.append(said)
                continue
            if isinstance(value, str) and value.strip():
                notes[f"{self._policy.name}/{key}"] = value.strip()[:NOTE_LENGTH_MAX]
        return Decided(decisions, notes)

    async def _concerned(self) -> bool | Decision:
        """A condition that says no wins over one that cannot be evaluated."""
        troubles: list[tuple[Compiled, CelError]] = []
        for condition in self._policy.conditions:
            try:
                if not await self._evaluate(condition):
                    return False
            except CelError as error:
                troubles.append((condition, error))
        if not troubles:
            return True
        told = [_told(condition, error) for condition, error in troubles]
        message = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
        return Decision(self._policy.fails_open, message, error_type=_type(troubles[0][1]))

    async def _validate(self, index: int, judgement: Judgement) -> Decision:
        try:
            holds = await self._evaluate(judgement.holds)
        except CelError as error:
            allows = self._policy.fails_open
            return Decision(allows, _told(judgement.holds, error), judgement.reason, _type(error), index)
        if holds is True:
            return Decision(True, index=index)
        return Decision(False, await self._message(judgement), judgement.reason, index=index)

    async def _message(self, judgement: Judgement) -> str:
        made = await self._made(judgement.says) if judgement.says is not None else ""
        return made or judgement.message.strip() or f"failed expression: {judgement.holds.expression.strip()}"

    async def _made(self, says: Compiled) -> str:
        """The message an expression makes; empty when it makes none that can be shown."""
        try:
            value = await self._evaluate(says)
        except CelError:
            return ""
        text = value.strip() if isinstance(value, str) else ""
        return "" if "\n" in text or len(text) > MESSAGE_LENGTH_MAX else text

    async def _evaluate(self, compiled: Compiled) -> Any:
        """Its value. Raises CelError."""
        program = compiled.program
        if isinstance(program, CelError):
            raise program
        if self._left <= 0:
            raise BudgetExceeded

        def work(budget: int) -> Evaluated:
            return program.evaluate(self._values, budget)

        try:
            found = await self._checks.evaluate(work, min(PER_CALL_LIMIT, self._left))
        except BudgetExceeded:
            self._left -= min(PER_CALL_LIMIT, self._left)
            raise
        self._left -= found.cost
        return found.value


def _told(compiled: Compiled, error: CelError) -> str:
    if isinstance(error, CompileError | Unavailable):
        return f"compilation error: {error}"
    return f"expression '{compiled.expression}' resulted in error: {error}"


def _type(error: CelError) -> str:
    if isinstance(error, CompileError | Unavailable):
        return "compile_error"
    return "out_of_budget" if isinstance(error, BudgetExceeded) else "invalid_error"
