"""Which agent and which container a request about a pod is meant for, and what an agent's refusal means to the client.

The agent's certificate must name the node the pod is bound to, so that whoever took over an address can neither answer
for the node nor receive our credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stark.crds.annotations import NODE_TYPE, NODE_TYPE_BROWSER

from ..errors import ApiError, BadRequest, InternalError, NotFound, ServiceUnavailable

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
ADDRESS_TYPES = ("InternalIP", "InternalDNS", "Hostname", "ExternalIP", "ExternalDNS")
"""Which of a node's addresses is used, best first."""
ERROR_BYTES_MAX = 4 * 1024
"""How much of an agent's error text is read and shown."""


class Lookup(Protocol):
    """How pods and nodes are read (admission's Lookup has this shape)."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        ...


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How long agents are given."""

    connect_s: float = 5.0
    """Seconds for TCP and TLS. An agent is a network hop away or gone."""
    answer_s: float = 15.0
    """Seconds until the answer begins. After that there is no limit: a followed log may be silent for days."""
    idle_s: float = 4 * 3_600.0
    """Seconds without a byte in either direction after which an exec, attach or port-forward ends. The kubelet's default."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Where a node's agent listens."""

    node: str
    address: str
    port: int

    def __str__(self) -> str:
        return f'node "{self.node}" at {self.address}:{self.port}'


async def pod_and_agent(lookup: Lookup, namespace: str, name: str) -> tuple[Mapping[str, Any], Agent]:
    """The pod, and the agent of its node. Raises NotFound, BadRequest when it has no node, ServiceUnavailable."""
    pod = await find_pod(lookup, namespace, name)
    node_name = (pod.get("spec") or {}).get("nodeName")
    if not node_name:
        raise BadRequest(f"pod {name} does not have a host assigned")
    return pod, await find_agent(lookup, node_name)


async def find_pod(lookup: Lookup, namespace: str, name: str) -> Mapping[str, Any]:
    """Raises NotFound."""
    pod = await lookup.get("", "pods", namespace, name)
    if pod is None:
        raise NotFound(f'pods "{name}" not found', kind="pods", name=name)
    return pod


async def find_agent(lookup: Lookup, node_name: str) -> Agent:
    """Raises NotFound, and ServiceUnavailable when the node does not say where its agent listens."""
    node = await lookup.get("", "nodes", "", node_name)
    if node is None:
        raise NotFound(f'nodes "{node_name}" not found', kind="nodes", name=node_name)
    if is_browser(node):
        raise BadRequest(
            f'node "{node_name}" is a browser: nothing connects to it, so exec, attach and port-forward do not'
        )
    return agent_of(node)


def agent_of(node: Mapping[str, Any]) -> Agent:
    """Where the node says its agent listens. Raises ServiceUnavailable when it does not say."""
    name, status = node["metadata"]["name"], node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 0
    addresses = {entry["type"]: entry["address"] for entry in reversed(status.get("addresses") or ())}
    address = next((addresses[kind] for kind in ADDRESS_TYPES if addresses.get(kind)), "")
    if not port or not address:
        raise ServiceUnavailable(f'node "{name}" has not reported where its agent listens')
    return Agent(name, address, port)


def is_browser(node: Mapping[str, Any]) -> bool:
    """Whether the node's agent is a page, which nobody can connect to."""
    return bool((node["metadata"].get("labels") or {}).get(NODE_TYPE) == NODE_TYPE_BROWSER)


def choose_container(pod: Mapping[str, Any], asked: str) -> str:
    """The container meant: the named one, the only one, or the annotated default. Raises BadRequest."""
    name = pod["metadata"]["name"]
    containers = [container["name"] for container in pod["spec"].get("containers") or ()]
    initial = [container["name"] for container in pod["spec"].get("initContainers") or ()]
    if asked:
        if asked not in (*containers, *initial):
            raise BadRequest(f"container {asked} is not valid for pod {name}")
        return asked
    if len(containers) == 1:
        return str(containers[0])
    default = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if default in containers:
        return str(default)
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]"
    if initial:
        message += f" or one of the init containers: [{' '.join(initial)}]"
    raise BadRequest(message)


def refusal(agent: Agent, status: int, text: str) -> ApiError:
    """What an agent said instead of doing what it was asked, as our own answer."""
    message = text or f"the agent of {agent} answered {status}"
    if status == 404:
        return NotFound(message)
    if status == 400:
        return BadRequest(message)
    if status == 500:
        return InternalError(message)
    if status == 503:
        return ServiceUnavailable(message)
    # A 401 or 403 of the agent is about us, not about the user, who must not take it for an answer to themselves.
    return InternalError(f"the agent of {agent} answered {status}: {message}")
