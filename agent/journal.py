"""Structured logs: one JSON line on stderr for every fact, with timestamp, level, service, nodeId and message.

By the standard library alone: an agent is small, and structlog would bring a terminal's colours along.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

SERVICE = "stark-agent"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _Lines(logging.Formatter):
    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        line = {"service": SERVICE, "nodeId": self._node}
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        line["level"] = record.levelname.lower()
        at = datetime.fromtimestamp(record.created, UTC)
        line["timestamp"] = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({**line, "message": record.getMessage()}, default=repr)


def configure(node: str, level: int = logging.INFO) -> None:
    """Send all logs of the process through one JSON formatter. `extra` fields of a record become fields of the line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(node))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
