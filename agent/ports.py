"""Host ports for pods that share the host's network: free when given, never two pods of this agent on one.

A port is probed by binding it, remembered with the pod, and kept over restarts unless somebody else took it meanwhile.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping

from stark.crds.podcontainers import every_container
from stark.crds.pods import Pod

PORTS = range(20_000, 30_000)  # below the kernel's ephemeral range, where outgoing connections come and go
ATTEMPTS_MAX = 200


class NoPort(Exception):
    """A hostPort is taken, or no free port was found."""


def port_keys(pod: Pod) -> list[tuple[str, str, int | None, str]]:
    """(container, port name or number, hostPort if any, protocol) of every port of the pod, in order."""
    return [
        (container.name, port.name or str(port.container_port), port.host_port or None, port.protocol)
        for container in every_container(pod.spec)
        for port in container.ports
    ]


def is_free(port: int, protocol: str = "TCP") -> bool:
    """Whether a program could listen on it on all addresses right now."""
    kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free to listen on
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


class PortBook:
    """Which pod has which ports."""

    def __init__(self) -> None:
        self._given: dict[str, dict[str, int]] = {}

    def remember(self, uid: str, ports: Mapping[str, int]) -> None:
        """A pod that was here before this agent process has these."""
        self._given[uid] = dict(ports)

    def ports(self, uid: str) -> dict[str, int]:
        """The pod's ports by `name or number`."""
        return dict(self._given.get(uid, {}))

    def assign(self, pod: Pod, running: frozenset[str] = frozenset()) -> dict[str, int]:
        """The ports of every container of the pod. Those of containers in `running` stay as they are. Raises NoPort."""
        known = self._given.get(pod.uid, {})
        chosen: dict[str, int] = {}
        for container, key, host_port, protocol in port_keys(pod):
            if host_port is not None:
                chosen[key] = self._literal(pod.uid, key, host_port, protocol, container in running)
            elif key in known and (container in running or is_free(known[key], protocol)):
                chosen[key] = known[key]
            else:
                chosen[key] = self._find(protocol, set(chosen.values()))
        self._given[pod.uid] = chosen
        return dict(chosen)

    def release(self, uid: str) -> None:
        """The pod is no more."""
        self._given.pop(uid, None)

    def _taken(self, except_uid: str = "") -> set[int]:
        return {port for uid, ports in self._given.items() if uid != except_uid for port in ports.values()}

    def _literal(self, uid: str, key: str, port: int, protocol: str, running: bool) -> int:
        if port in self._taken(uid):
            raise NoPort(f"hostPort {port} of port {key} belongs to another pod of this node")
        if not running and not is_free(port, protocol):
            raise NoPort(f"hostPort {port} of port {key} is used by another program on this node")
        return port

    def _find(self, protocol: str, chosen: set[int]) -> int:
        taken = self._taken() | chosen
        # Random, because other agents on this machine look for ports too and must not all try the same one.
        for _ in range(ATTEMPTS_MAX):
            port = random.choice(PORTS)
            if port not in taken and is_free(port, protocol):
                return port
        raise NoPort(f"no free port after {ATTEMPTS_MAX} attempts between {PORTS.start} and {PORTS.stop}")
