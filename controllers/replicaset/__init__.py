"""ReplicaSets: a number of equal pods. `planning` decides, `controller` acts."""

from .controller import build

__all__ = ["build"]
