"""Programs that forward ports with the Python clients: processes of their own, since the clients leave sockets behind.

`python -m tests.support.forward_programs official|kr8s KUBECONFIG NAMESPACE POD` prints what it received as JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from typing import Any

NO_ERROR_S = 20.0
"""How long to wait for an error that should come."""


def body_of(answer: bytes) -> str:
    """The digest of an HTTP answer's body."""
    return hashlib.sha256(answer.partition(b"\r\n\r\n")[2]).hexdigest()


def official(kubeconfig: str, namespace: str, pod: str) -> dict[str, Any]:
    """The package `kubernetes`: one connection a port, until the server closes."""
    from kubernetes import client, config
    from kubernetes.stream import portforward

    load: Any = config.new_client_from_config
    core = client.CoreV1Api(load(kubeconfig))
    forwarded = portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports="80")
    end = forwarded.socket(80)
    end.setblocking(True)
    end.sendall(b"GET /big HTTP/1.1\r\n\r\n")
    received = b"".join(iter(lambda: end.recv(1 << 20), b""))
    # The function replaces a method of its API client, so each call needs one of its own.
    core = client.CoreV1Api(load(kubeconfig))
    refused = portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports="9,81")
    deadline = time.monotonic() + NO_ERROR_S
    while refused.error(9) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    errors = [forwarded.error(80), refused.error(9), refused.error(81)]
    refused.close()
    return {"big": body_of(received), "errors": errors}


async def with_kr8s(kubeconfig: str, namespace: str, name: str) -> dict[str, Any]:
    """kr8s: a local port, and a WebSocket for each connection to it."""
    import kr8s
    from kr8s.asyncio.objects import Pod

    async def get(port: int, path: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        data = await reader.read()
        writer.close()
        return body_of(data)

    api = await kr8s.asyncio.api(kubeconfig=kubeconfig)
    pod = await Pod.get(name, namespace=namespace, api=api)
    async with pod.portforward(80, local_port="auto") as port:
        paths = ["/big", *(f"/{number}" for number in range(5))]
        answers = await asyncio.gather(*(get(port, path) for path in paths))
    return dict(zip(paths, answers, strict=True))


if __name__ == "__main__":
    which, *arguments = sys.argv[1:]
    found = official(*arguments) if which == "official" else asyncio.run(with_kr8s(*arguments))
    sys.stdout.write(json.dumps(found))
