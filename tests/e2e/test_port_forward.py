"""Port-forward as users see it: kubectl of several minors, the Python clients, and packs of two runtimes behind it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support.kubectl import kubectl_of
from tests.support.up import Up

NAMESPACE = "forward"
SIZE = 20_000_000
BLOCK = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(2_000))
BIG = (BLOCK * (SIZE // len(BLOCK) + 1))[:SIZE]

pytestmark = pytest.mark.timeout(240)

PYTHON = '''
import asyncio, hashlib, os, socket
BLOCK = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(2_000))
BIG = (BLOCK * (20_000_000 // len(BLOCK) + 1))[:20_000_000]

async def serve(reader, writer):
    """HTTP: /big is large, /broken breaks off, a POST is answered with the digest of its body."""
    try:
        head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
        sizes = [int(line.partition(":")[2]) for line in head.split("\\r\\n") if line.startswith("content-length")]
        path = head.split()[1]
        if path == "/broken":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
            return
        body = await reader.readexactly(sizes[0]) if sizes else b""
        answer = BIG if path == "/big" else hashlib.sha256(body).hexdigest().encode() if body else path.encode()
        status = b"500 Oh" if path == "/error" else b"200 OK"
        writer.write(b"HTTP/1.1 %s\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % (status, len(answer)))
        writer.write(answer)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()

async def count(reader, writer):
    """Answers when it has been sent everything."""
    writer.write(b"%d bytes" % len(await reader.read(-1)))
    await writer.drain()
    writer.close()

async def default(context, *args):
    web = await asyncio.start_server(serve, "0.0.0.0", int(os.environ["PORT"]))
    counter = await asyncio.start_server(count, "127.0.0.1", int(os.environ["STARK_PORT_COUNT"]))
    async with web, counter:
        await asyncio.Event().wait()
'''
NODE = """
module.exports.default = async function (context) {
  const http = require('http');
  const server = http.createServer((request, response) => response.end(`node serves ${request.url}`));
  await new Promise((listening) => server.listen(process.env.PORT, 'localhost', listening));
  await new Promise((done) => server.on('close', done));
};
"""


def deployment(name: str, pack: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    labels = {"app": name}
    probe = {"tcpSocket": {"port": ports[0]["containerPort"], "host": "localhost"}, "periodSeconds": 1}
    container = {"name": "main", "image": f"pack.stark/{pack}:1.0.0", "ports": ports, "readinessProbe": probe}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


@pytest.fixture(scope="module")
def up(on_sqlite: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Deployments `py` and `js` of one pod each, and a service of `py`."""
    folder = tmp_path_factory.mktemp("packs")
    on_sqlite.kubectl("create", "namespace", NAMESPACE)
    for name, source, runtime in (("forward-py", PYTHON, "python"), ("forward-js", NODE, "node")):
        file = folder / f"{name}.{'py' if runtime == 'python' else 'js'}"
        file.write_text(source)
        on_sqlite.starkctl("pack", "register", str(file), "--name", name, "--ver", "1.0.0", "--runtime", runtime)
    udp = {"name": "udp", "containerPort": 53, "protocol": "UDP"}
    ports = [{"name": "http", "containerPort": 80}, {"name": "count", "containerPort": 81}, udp]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "py", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "py"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    items = [deployment("py", "forward-py", ports), deployment("js", "forward-js", [{"containerPort": 3000}]), service]
    on_sqlite.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(items))
    for name in ("py", "js"):
        on_sqlite.run("kubectl", "rollout", "status", f"deployment/{name}", "-n", NAMESPACE, timeout=120)
    yield on_sqlite
    on_sqlite.kubectl("delete", "namespace", NAMESPACE)


def pod_of(up: Up, app: str) -> str:
    name: str = up.pods(f"app={app}", NAMESPACE)[0]["metadata"]["name"]
    return name


class Forward:
    """A running `kubectl port-forward`; local ports are free ones."""

    def __init__(self, up: Up, minor: str, what: str, ports: tuple[int, ...], environment: dict[str, str]) -> None:
        words = [f":{port}" for port in ports]
        self.process = subprocess.Popen(
            [str(kubectl_of(minor)), "port-forward", "-n", NAMESPACE, "-v=6", "--address=127.0.0.1", what, *words],
            env={**up.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.local: dict[int, int] = {}
        """Local ports by the pod's."""
        self._begun = threading.Event()
        self._wanted = len(ports)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._begun.wait(30), self.said
        assert len(self.local) == self._wanted, self.said

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
                if found := re.match(r"Forwarding from 127.0.0.1:(\d+) -> (\d+)", line):
                    self.local[int(found[2])] = int(found[1])
                if len(self.local) == self._wanted:
                    self._begun.set()
        self._begun.set()

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def end(self, timeout: float = 30) -> int:
        """Wait for its own end: its exit code."""
        code = self.process.wait(timeout)
        self._reader.join(10)
        return code

    def get(self, path: str, port: int = 80, body: bytes | None = None) -> bytes:
        """Ask through it over HTTP."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.local[port]}{path}", data=body)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                data: bytes = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                error.read()  # a connection that is closed with something unread is reset, and kubectl complains of it
            raise
        return data


@contextmanager
def forward(up: Up, minor: str, what: str, *ports: int, **environment: str) -> Iterator[Forward]:
    running = Forward(up, minor, what, ports, environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
        running.end()


def connections(up: Up, app: str) -> int:
    """How many connections the agent has to the pod's ports."""
    pod = up.pods(f"app={app}", NAMESPACE)[0]
    ports = json.loads(pod["metadata"]["annotations"]["stark.dev/ports"]).values()
    found = up.child("stark.agent").net_connections(kind="tcp")
    return sum(bool(one.raddr) and one.raddr.port in ports and one.status == psutil.CONN_ESTABLISHED for one in found)


SLOW = pytest.mark.slow
MINORS = [
    pytest.param("1.27", {}, "POST", id="1.27, SPDY", marks=SLOW),
    pytest.param("1.30", {}, "POST", id="1.30, SPDY"),
    pytest.param("1.30", {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "true"}, "GET", id="1.30, WebSocket", marks=SLOW),
    pytest.param("1.31", {}, "GET", id="1.31, WebSocket", marks=SLOW),
    pytest.param("1.32", {}, "GET", id="1.32, WebSocket", marks=SLOW),
    pytest.param("1.33", {}, "GET", id="1.33, WebSocket"),
    pytest.param("1.33", {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}, "POST", id="1.33, SPDY", marks=SLOW),
]


@pytest.mark.parametrize(("minor", "environment", "method"), MINORS)
def test_one_forward_carries_whatever_is_sent(up: Up, minor: str, environment: dict[str, str], method: str) -> None:
    with forward(up, minor, f"pod/{pod_of(up, 'py')}", 80, 81, **environment) as running:
        upgrade = [line for line in running.lines if "/portforward" in line and "101" in line]
        assert len(upgrade) == 1, running.said
        assert method in upgrade[0], "another protocol than was meant to be tested"
        assert running.get("/hello") == b"/hello"
        assert running.get("/big") == BIG
        assert running.get("/upload", body=BIG).decode() == digest(BIG)
        with socket.create_connection(("127.0.0.1", running.local[81]), 30) as half:
            half.sendall(BLOCK)
            half.shutdown(socket.SHUT_WR)
            assert half.recv(100) == f"{len(BLOCK)} bytes".encode()
        # What goes wrong with one request is no reason to give up the others.
        with pytest.raises(urllib.error.HTTPError, match="500"):
            running.get("/error")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError, urllib.error.URLError)):
            running.get("/broken")
        with ThreadPoolExecutor(50) as many:
            answers = list(many.map(running.get, [f"/{number}" for number in range(50)]))
        assert answers == [f"/{number}".encode() for number in range(50)]
        assert running.process.poll() is None
    handled = [line for line in running.lines if line.startswith(("Forwarding from", "Handling connection"))]
    rest = [line for line in running.lines if line not in handled and not re.match(r"I\d{4} ", line)]
    assert rest == [], "kubectl has nothing to complain of"
    up.until("nothing is left", lambda: connections(up, "py") == 0)


@pytest.mark.slow
@pytest.mark.parametrize("minor", ["1.30", "1.33"])
def test_large_downloads_at_once_are_exact(up: Up, minor: str) -> None:
    with forward(up, minor, "deployment/py", 80) as running, ThreadPoolExecutor(16) as many:
        digests = set(many.map(lambda _: digest(running.get("/big")), range(16)))
    assert digests == {digest(BIG)}


@pytest.mark.parametrize("minor", [pytest.param("1.30", marks=SLOW), "1.33"])
def test_a_port_that_the_pod_does_not_declare_is_refused(up: Up, minor: str) -> None:
    name = pod_of(up, "py")
    uid = up.json("pod", name, "-n", NAMESPACE)["metadata"]["uid"]
    port = int(up.json("nodes")["items"][0]["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"])
    running = Forward(up, minor, f"pod/{name}", (port,), {})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        running.get("/healthz", port)
    assert running.end() == 1
    assert (
        f"error forwarding port {port} to pod {name}, uid {uid}: the pod does not declare port {port}: "
        "its ports are 80 (http), 81 (count), 53 (udp)"
    ) in running.said
    assert running.lines[-1] == "error: lost connection to pod\n"


def test_a_node_pack_behind_a_deployment_and_a_python_pack_behind_a_service(up: Up) -> None:
    with forward(up, "1.33", "deployment/js", 3000) as js, forward(up, "1.33", "service/py", 80) as py:
        assert js.get("/x", 3000) == b"node serves /x"
        assert py.get("/y") == b"/y"


def test_a_forward_ends_with_its_pod(up: Up) -> None:
    name = pod_of(up, "js")
    running = Forward(up, "1.33", f"pod/{name}", (3000,), {})
    assert running.get("/", 3000) == b"node serves /"
    up.kubectl("delete", "pod", name, "-n", NAMESPACE)
    assert running.end() == 1
    assert running.lines[-1] == "error: lost connection to pod\n"
    up.run("kubectl", "rollout", "status", "deployment/js", "-n", NAMESPACE, timeout=120)


def test_a_killed_kubectl_leaves_no_connection(up: Up) -> None:
    running = Forward(up, "1.33", "deployment/py", (81,), {})
    with socket.create_connection(("127.0.0.1", running.local[81]), 30) as idle:
        idle.sendall(b"x")
        up.until("it is connected", lambda: connections(up, "py") == 1)
        os.kill(running.process.pid, signal.SIGKILL)
        running.end()
        up.until("it is not", lambda: connections(up, "py") == 0)


def run_client(up: Up, which: str) -> Any:
    """What one of the programs of `tests.support.forward_programs` received."""
    program = ("-W", "ignore", "-m", "tests.support.forward_programs")
    return json.loads(up.run(sys.executable, *program, which, str(up.kubeconfig), NAMESPACE, pod_of(up, "py")))


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.slow
def test_the_official_client_forwards_sockets(up: Up) -> None:
    found = run_client(up, "official")
    assert found["big"] == digest(BIG)
    fine, refused, other = found["errors"]
    assert (fine, other) == (None, None)
    assert "the pod does not declare port 9" in refused


def test_kr8s_forwards_a_local_port(up: Up) -> None:
    paths = [f"/{number}" for number in range(5)]
    assert run_client(up, "kr8s") == {"/big": digest(BIG)} | {path: digest(path.encode()) for path in paths}


def test_kubectl_proxy_serves_the_api_and_says_what_is_not_there(up: Up, tmp_path: Path) -> None:
    place = tmp_path / "proxy.sock"
    proxy = subprocess.Popen(
        ["kubectl", "proxy", f"--unix-socket={place}"], env=up.environment, stdout=subprocess.DEVNULL
    )
    try:
        up.until("it listens", place.exists)

        def ask(path: str) -> tuple[int, dict[str, Any]]:
            plain = http.client.HTTPConnection("localhost", timeout=30)
            plain.sock = socket.socket(socket.AF_UNIX)
            plain.sock.connect(str(place))
            plain.request("GET", path)
            answer = plain.getresponse()
            body = json.loads(answer.read())
            plain.close()
            return answer.status, body

        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        status, found = ask(pods)
        assert (status, found["kind"]) == (200, "PodList")
        for path in (
            f"{pods}/{pod_of(up, 'py')}/proxy/",
            f"/api/v1/namespaces/{NAMESPACE}/services/py/proxy/x",
            f"/api/v1/nodes/{up.json('nodes')['items'][0]['metadata']['name']}/proxy/healthz",
        ):
            status, refusal = ask(path)
            assert (status, refusal["kind"]) in ((404, "Status"), (405, "Status")), (path, refusal)
    finally:
        proxy.terminate()
        proxy.wait(10)
