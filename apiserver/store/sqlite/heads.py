"""Where keys stand: the newest row and state of those that were written lately, so that an update reads nothing."""

from __future__ import annotations

from ..protocol import KeyValue

Head = tuple[int, KeyValue | None]
"""A key's newest row in the log, and its state unless that row is a deletion. A bare tuple, as every write makes one."""

ABSENT: Head = (0, None)
"""Of a key that has no row, or whose row is not known."""

OVERHEAD_BYTES = 400
"""What a remembered key costs besides its bytes."""


class RecentHeads:
    """Two generations of heads: when the young one is half of `bytes_max` it becomes the old one, and the old one is
    forgotten. That forgets the oldest keys without keeping an order, which would cost more than it saves."""

    def __init__(self, bytes_max: int) -> None:
        self._generation_bytes = bytes_max // 2
        self._young: dict[bytes, Head] = {}
        self._old: dict[bytes, Head] = {}
        self._young_bytes = 0

    def find(self, key: bytes, found: dict[bytes, Head], missing: list[bytes]) -> None:
        """Add the key's head to `found`; when it is not known, ABSENT, and the key to `missing`."""
        head = self._young.get(key) or self._old.get(key)
        if head is None:
            missing.append(key)
            head = ABSENT
        found[key] = head

    def add(self, heads: dict[bytes, Head], size_bytes: int) -> None:
        """These are the newest now; `size_bytes` is what their keys and values came with."""
        self._young.update(heads)
        self._young_bytes += size_bytes + OVERHEAD_BYTES * len(heads)
        if self._young_bytes > self._generation_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
