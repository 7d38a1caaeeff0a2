"""Runtimes: how a pack of each kind becomes a process. One Protocol, one contract suite, one list."""

from .base import Invocation, Program, Runtime, reachable_for_others
from .catalogue import detect, runtime_for

__all__ = ["Invocation", "Program", "Runtime", "detect", "reachable_for_others", "runtime_for"]
