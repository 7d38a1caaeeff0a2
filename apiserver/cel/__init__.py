"""The Common Expression Language as Kubernetes has it: https://kubernetes.io/docs/reference/using-api/cel/.

`program` compiles and evaluates, `declared` makes types of schemas, `conditions` is for admission's match conditions and
policies, `offload` keeps what is dear away from the event loop. `docs/decisions/0007-cel.md` says what is whose.
"""

from .declared import Declared, bind, declare
from .errors import BudgetExceeded, CelError, CompileError, EvaluationError, Unavailable
from .program import OBJECT_BUDGET, PER_CALL_LIMIT, Evaluated, Program, Scope

__all__ = [
    "OBJECT_BUDGET",
    "PER_CALL_LIMIT",
    "BudgetExceeded",
    "CelError",
    "CompileError",
    "Declared",
    "Evaluated",
    "EvaluationError",
    "Program",
    "Scope",
    "Unavailable",
    "bind",
    "declare",
]
