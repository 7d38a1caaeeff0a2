"""The store's revision in memory that all its processes see, so that asking for it costs no question.

The store's process writes it before any answer or event that shows it leaves; so whoever reads it after an answer was
given, in whatever process, reads a revision that is not older.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

BYTES: Final = 8


class SharedRevision:
    """One number, written by one process. Made once, and inherited by the others as an open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        """To be passed on to other processes; ours until `close`."""
        self._memory = mmap.mmap(descriptor, BYTES)
        # A cell of eight aligned bytes is written and read in one piece.
        self._cell = memoryview(self._memory).cast("q")

    @classmethod
    def create(cls) -> SharedRevision:
        """A new one, which vanishes with the last process that has it."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("stark-revision")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, BYTES)
        return cls(descriptor)

    @property
    def value(self) -> int:
        """The newest revision that anybody was told."""
        return self._cell[0]

    @value.setter
    def value(self, revision: int) -> None:
        self._cell[0] = revision

    def close(self) -> None:
        """Give the memory back."""
        self._cell.release()
        self._memory.close()
        os.close(self.descriptor)
