"""Ports of this machine that are ports of a pod: one WebSocket (`v4.channel.k8s.io`) for each connection.

The protocol cannot say that one side has finished: when a local client has, what the pod still sends is passed on until
nothing has come for a while.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from .entering import path_of
from .errors import CommandError, ServerError, UsageError
from .http import Api
from .http1 import ProtocolError
from .links import Link, Loop

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
PORT_MAX = 65_535
CONNECTIONS_MAX = 256
"""At once; more wait to be accepted."""
BACKLOG = 128
READ_BYTES = 32_768
FINISHED_S = 30.0
"""How long a client that has finished sending is waited for while the pod says nothing."""
LOCALHOST = ("127.0.0.1", "::1")


def parse_port(text: str) -> tuple[int | None, str]:
    """`80`, `8080:80`, `:80` or with a name for the second: the port here (None: the same, 0: any). Raises UsageError."""
    local, colon, remote = text.rpartition(":")
    wrong = UsageError(f"{text!r} is not a port such as 80, 8080:80, :80 or 8080:http")
    if not remote or (remote.isdecimal() and not 0 < int(remote) <= PORT_MAX):
        raise wrong
    if not colon:
        return None, remote
    if local and not (local.isdecimal() and int(local) <= PORT_MAX):
        raise wrong
    return int(local or 0), remote


def remote_port(name: str, pod: dict[str, Any], service: dict[str, Any] | None) -> int:
    """The pod's port that a number or a name means; a service's port means its target. Raises CommandError."""
    if service is not None:
        found = next((p for p in service["spec"].get("ports") or () if name in (p.get("name"), str(p["port"]))), None)
        if found is None:
            raise CommandError(f"Service {service['metadata']['name']} does not have a service port {name}")
        name = str(found.get("targetPort") or found["port"])
    if name.isdecimal():
        return int(name)
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == name:
                return int(port["containerPort"])
    raise CommandError(f"Pod {pod['metadata']['name']} does not have a named port '{name}'")


class Forwarder:
    """Listens, and carries every connection in a thread of its own."""

    def __init__(self, api: Api, pod: dict[str, Any]) -> None:
        self._api, self._pod = api, pod
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._lost_read, self._lost_write = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener, _ in self._listeners.values():
            listener.close()

    def listen(self, addresses: Sequence[str], local: int, remote: int) -> None:
        """Listen for one port at each address; of localhost's two one is enough. Raises CommandError."""
        for address in addresses:
            errors: list[OSError] = []
            names = LOCALHOST if address == "localhost" else (address,)
            for name in names:
                try:
                    local = self._bind(name, local, remote)
                except OSError as error:
                    errors.append(error)
            if len(errors) == len(names):
                raise CommandError(f"unable to listen on port {local} at {address}: {errors[0].strerror or errors[0]}")

    def _bind(self, address: str, local: int, remote: int) -> int:
        is_v6 = ":" in address
        listener = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_v6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, local))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listeners[listener.fileno()] = (listener, remote)
        bound = int(listener.getsockname()[1])
        print(f"Forwarding from {f'[{address}]' if is_v6 else address}:{bound} -> {remote}", flush=True)
        return bound

    def run(self) -> NoReturn:
        """Carry connections until the pod has ended. Raises CommandError then."""
        threading.Thread(target=self._watch, daemon=True).start()
        with selectors.DefaultSelector() as selector:
            for descriptor in (*self._listeners, self._lost_read):
                selector.register(descriptor, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == self._lost_read:
                        raise CommandError("lost connection to pod")
                    self._accept(*self._listeners[key.fd])

    def _accept(self, listener: socket.socket, remote: int) -> None:
        with contextlib.suppress(ConnectionError):
            client, _ = listener.accept()
            local = listener.getsockname()[1]
            print(f"Handling connection for {local}", flush=True)
            self._slots.acquire()
            threading.Thread(target=self._carry, args=(client, local, remote), daemon=True).start()

    def _carry(self, client: socket.socket, local: int, remote: int) -> None:
        try:
            with client:
                link = self._api.websocket(path_of(self._pod, "portforward"), [("ports", str(remote))], [PROTOCOL])
                try:
                    Carried(link, client).run()
                finally:
                    link.close()
        except ConnectionError:
            pass  # one of the two broke off, which the other has been told by the end of its connection
        except (OSError, ProtocolError, CommandError) as error:
            print(f"error: an error occurred forwarding {local} -> {remote}: {error}", file=sys.stderr, flush=True)
        finally:
            self._slots.release()

    def _watch(self) -> None:
        """Say so when the pod has ended, or nobody can be asked any more."""
        import json

        metadata = self._pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        query = {"watch": "true", "fieldSelector": f"metadata.name={metadata['name']}"}
        with contextlib.suppress(CommandError, ServerError, ValueError):
            while True:
                for line in self._api.lines(path, query=query):
                    event = json.loads(line)
                    phase = (event["object"].get("status") or {}).get("phase")
                    other = event["object"].get("metadata", {}).get("uid") != metadata["uid"]
                    if event["type"] in ("DELETED", "ERROR") or phase in ("Succeeded", "Failed") or other:
                        os.write(self._lost_write, b"x")
                        return
        os.write(self._lost_write, b"x")


class Carried:
    """One connection."""

    def __init__(self, link: Link, client: socket.socket) -> None:
        self._link, self._client = link, client
        self._loop = Loop(link, self._received)
        self._begun: set[int] = set()

    def run(self) -> None:
        """To its end. Raises OSError, ProtocolError, CommandError."""
        self._loop.feed(self._client.fileno(), self._sent)
        self._loop.run()

    def _sent(self) -> None:
        data = self._client.recv(READ_BYTES)
        if data:
            self._link.send(bytes((DATA,)) + data)
        else:
            self._loop.forget(self._client.fileno())
            self._loop.patience(FINISHED_S)

    def _received(self, message: bytes) -> None:
        channel, data = message[0] if message else -1, message[1:]
        if channel not in (DATA, ERROR):
            raise ProtocolError("a message of a channel that nobody opened")
        if channel not in self._begun:
            self._begun.add(channel)  # the first says which port it is, which is the one asked for
        elif channel == DATA:
            self._client.sendall(data)
        elif data:
            raise CommandError(data.decode("utf-8", "replace"))
