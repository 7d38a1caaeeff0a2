"""The Python runtime; the module contract itself is kept by `harness.py`, inside the child."""

from .runtime import PythonRuntime

__all__ = ["PythonRuntime"]
