"""The Node.js runtime; the module contract itself is kept by `harness.cjs`, inside the child."""

from .runtime import NodeRuntime

__all__ = ["NodeRuntime"]
