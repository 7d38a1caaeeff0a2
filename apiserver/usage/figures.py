"""What an agent says its node and pods use, parsed once; and how metrics.k8s.io writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson

from stark.crds.printers import parse_time
from stark.crds.quantity import NANO, format_quantity

from ..times import timestamp

SIXTY: Final = 60


@dataclass(frozen=True, slots=True)
class Usage:
    """Billionths of a core over the window, and bytes of working set at its end."""

    nanocores: int
    memory_bytes: int

    def to_wire(self) -> dict[str, str]:
        """As quantities."""
        return {
            "cpu": format_quantity(self.nanocores * NANO),
            "memory": format_quantity(self.memory_bytes, "binary"),
        }


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """All of one node. `pods` is by namespace and name: the containers with what they use."""

    timestamp: str
    window: str
    node: Usage
    pods: Mapping[tuple[str, str], Sequence[tuple[str, Usage]]]


def parse_summary(data: bytes) -> NodeFigures | None:
    """An agent's /stats/summary; None while it has not measured a whole window. Raises ValueError when it is none."""
    try:
        said = orjson.loads(data)
        if "windowSeconds" not in said:
            return None
        moment = parse_time(said["time"])
        if moment is None:
            raise ValueError(f"not a time: {said['time']!r}")
        pods = {
            (pod["podRef"]["namespace"], pod["podRef"]["name"]): [
                (str(container["name"]), _usage(container)) for container in pod["containers"]
            ]
            for pod in said["pods"]
        }
        window = go_duration(Decimal(str(said["windowSeconds"])))
        return NodeFigures(timestamp(moment), window, _usage(said["node"]), pods)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not a summary of usage: {error!r}") from error


def _usage(of: Mapping[str, Any]) -> Usage:
    return Usage(int(of["cpu"]["usageNanoCores"]), int(of["memory"]["workingSetBytes"]))


def go_duration(seconds: Decimal) -> str:
    """As Go writes one: `10.003s`, `1m0.5s`, `2h0m0s`."""
    minutes, rest = divmod(seconds, SIXTY)
    shown = f"{rest.normalize():f}s"
    if seconds < SIXTY:
        return shown
    hours, over = divmod(int(minutes), SIXTY)
    return f"{hours}h{over}m{shown}" if hours else f"{over}m{shown}"
