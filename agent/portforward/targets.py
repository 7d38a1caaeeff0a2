"""Which port of the node a port of a pod is, and whether it may be reached.

Pods of processes share the node's network, so a port that does not belong to the pod belongs to somebody else: another
pod, or a service of the host that listens on the loopback address because it trusts everybody there. Only ports that the
pod declares are forwarded, and only while the container that declares them runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stark.crds.podcontainers import every_container
from stark.crds.pods import ContainerPort, Pod


class NotForwarded(Exception):
    """The connection is refused; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Target:
    """A pod as it is now."""

    pod: Pod
    host_ports: Mapping[str, int]
    """The node's ports that were given to it, by `name or number`."""
    running: frozenset[str]
    """The containers that have a process."""

    def node_port(self, port: int) -> int:
        """Where on the node the pod's `port` is: a containerPort, or a port of the node that is this pod's own.

        Raises NotForwarded.
        """
        declared = [(container, entry) for container in every_container(self.pod.spec) for entry in container.ports]
        found = [pair for pair in declared if pair[1].container_port == port]
        found = found or [pair for pair in declared if self._given(pair[1]) == port]
        if not found:
            raise NotForwarded(f"the pod does not declare port {port}: {_listed([entry for _, entry in declared])}")
        tcp = [pair for pair in found if pair[1].protocol == "TCP"]
        if not tcp:
            raise NotForwarded(f"port {port} is declared for {found[0][1].protocol}, and only TCP can be forwarded")
        container, entry = tcp[0]
        given = self._given(entry)
        if container.name not in self.running or given is None:
            raise NotForwarded(f'container "{container.name}", which declares port {port}, is not running')
        return given

    def _given(self, entry: ContainerPort) -> int | None:
        return self.host_ports.get(entry.name or str(entry.container_port))


def _listed(ports: list[ContainerPort]) -> str:
    names = [f"{port.container_port} ({port.name})" if port.name else str(port.container_port) for port in ports]
    return f"its ports are {', '.join(names)}" if names else "it declares none"
