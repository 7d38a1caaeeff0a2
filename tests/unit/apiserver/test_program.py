"""stark-apiserver as a process: how it starts, why it does not, and how it stops."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

PROGRAM = (sys.executable, "-m", "stark.apiserver")
READY_TIMEOUT_S = 30.0


@contextmanager
def running(data_dir: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program and its URL, once it is ready."""
    command = [*PROGRAM, "--data-dir", str(data_dir), "--listen", "127.0.0.1:0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("ready https://"), (line, process.stderr and process.stderr.read())
        yield process, line.split()[1]
    finally:
        process.kill()
        process.communicate()


def refused(data_dir: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [*PROGRAM, "--data-dir", str(data_dir), *options], capture_output=True, text=True, timeout=READY_TIMEOUT_S
    )
    return done.returncode, done.stderr


def connect(url: str, kubeconfig: Path) -> ssl.SSLSocket:
    """A TLS connection with the kubeconfig's certificate."""
    config = yaml.safe_load(kubeconfig.read_text())
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    pem = kubeconfig.with_suffix(".pem")
    pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(pem)
    place = urlsplit(url)
    assert place.hostname is not None
    raw = socket.create_connection((place.hostname, place.port or 0), timeout=10)
    return context.wrap_socket(raw, server_hostname=place.hostname)


def test_it_serves_and_stops_cleanly_with_watches_open(tmp_path: Path) -> None:
    with running(tmp_path) as (process, url):
        kubeconfig = tmp_path / "admin.kubeconfig"
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "controllers.kubeconfig").exists()
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        assert [line.split()[4:6] for line in limits if line.startswith("Max core file size")] == [["0", "0"]]
        with connect(url, kubeconfig) as connection:
            connection.sendall(b"GET /api/v1/namespaces?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in connection.recv(65536)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            rest = b""
            while piece := connection.recv(65536):
                rest += piece
            assert rest.endswith(b"0\r\n\r\n")
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5


def test_what_was_stored_is_there_after_a_kill(tmp_path: Path) -> None:
    body = json.dumps({"metadata": {"name": "kept"}}).encode()
    with running(tmp_path) as (process, url):
        with connect(url, tmp_path / "admin.kubeconfig") as connection:
            head = f"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert b" 201 " in connection.recv(65536)
        process.kill()
        process.wait(10)
    with running(tmp_path) as (process, url):
        with connect(url, tmp_path / "admin.kubeconfig") as connection:
            connection.sendall(b"GET /api/v1/namespaces/kept HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in connection.recv(65536)


def test_a_data_directory_that_is_in_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    with running(tmp_path):
        code, said = refused(tmp_path, "--listen", "127.0.0.1:0")
    assert code == 1
    assert "in use by another process" in said
    assert said.count("\n") == 1


def test_a_port_that_is_in_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = refused(tmp_path, "--listen", where)
    assert (code, said) == (
        1,
        f"stark-apiserver: {where} is in use by another program: stop it, or choose another address with --listen\n",
    )


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        pytest.param(("--store", "nonsense"), 1, "use sqlite, memory, or etcd=", id="an unknown store"),
        pytest.param(("--listen", "nonsense"), 2, "--listen must be HOST:PORT", id="no address"),
    ],
)
def test_settings_that_make_no_sense_are_told(
    tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    got, said = refused(tmp_path, *options)
    assert got == code
    assert message in said


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = refused(tmp_path / "file" / "data", "--listen", "127.0.0.1:0")
    assert code == 1
    assert "cannot be used as a data directory" in said


def test_a_kubeconfig_can_be_issued_beside_a_running_server(tmp_path: Path) -> None:
    with running(tmp_path, "--store", "memory") as (_, url):
        out = tmp_path / "agent.kubeconfig"
        command = [*PROGRAM, "kubeconfig", "--data-dir", str(tmp_path), "--identity", "node:n1", "--server", url]
        subprocess.run([*command, "--out", str(out)], check=True, timeout=READY_TIMEOUT_S)
        with connect(url, out) as connection:
            connection.sendall(b"GET /api/v1/nodes/n1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 404 " in connection.recv(65536)
    assert os.stat(out).st_mode & 0o777 == 0o600
