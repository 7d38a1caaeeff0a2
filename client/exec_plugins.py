"""Credentials from programs: the `exec` users of a kubeconfig (client.authentication.k8s.io, v1 and v1beta1).

A program prints an ExecCredential with a token, or a certificate and its key, and perhaps a time until which they are good.
They are kept in memory for that long, asked for anew when the server refuses them, and never written anywhere. Only
the standard library, and of it nothing slow before a program is really run: the command line uses this too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

GROUP = "client.authentication.k8s.io"
API_VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
INTERACTIVE_MODES = ("Never", "IfAvailable", "Always")
INFO_VARIABLE = "KUBERNETES_EXEC_INFO"
OUTPUT_BYTES_MAX = 1024 * 1024  # a certificate chain with its key is some 10 KB
TIMEOUT_S = 60.0  # a program that nobody can talk to; longer than any identity provider takes
INTERACTIVE_TIMEOUT_S = 600.0  # a person who looks for a phone


class ExecError(Exception):
    """The program could not be run or said nothing usable; the message names it and the next step."""


class ExecPlugin(NamedTuple):
    """One `exec` entry of a kubeconfig."""

    command: str
    """A path, or a name looked up in PATH."""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    """Set beside our own environment."""
    api_version: str = API_VERSIONS[0]
    interactive_mode: str = "IfAvailable"
    install_hint: str = ""
    cluster: str = ""
    """JSON of spec.cluster, when the program is to know which server this is for."""


class Credential(NamedTuple):
    """What a program handed out. Secrets are kept out of `repr`."""

    token: str | None = None
    certificate: bytes | None = None
    """PEM, with its key."""
    key: bytes | None = None
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"Credential(expires={self.expires})"

    @property
    def is_expired(self) -> bool:
        """Whether its own time is over."""
        if self.expires is None:
            return False
        from datetime import UTC, datetime

        return datetime.now(UTC) >= self.expires


def parse_plugin(body: Mapping[str, Any], directory: Path, cluster: Mapping[str, Any]) -> ExecPlugin:
    """The entry of a kubeconfig in `directory`. Raises ExecError naming the key that is wrong.

    A command with a slash is relative to its file, as client-go has it.
    """
    command, api_version = body.get("command"), body.get("apiVersion")
    if not isinstance(command, str) or not command:
        raise ExecError("exec.command: missing")
    if api_version not in API_VERSIONS:
        raise ExecError(f"exec.apiVersion: expected one of {', '.join(API_VERSIONS)}, got {api_version!r}")
    mode = body.get("interactiveMode") or ("" if api_version == API_VERSIONS[0] else "IfAvailable")
    if mode not in INTERACTIVE_MODES:
        raise ExecError(f"exec.interactiveMode: expected one of {', '.join(INTERACTIVE_MODES)}, got {mode!r}")
    args, env = body.get("args") or [], body.get("env") or []
    if not isinstance(args, list) or not all(isinstance(one, str) for one in args):
        raise ExecError("exec.args: expected a list of texts")
    if not isinstance(env, list) or not all(isinstance(e, dict) and isinstance(e.get("name"), str) for e in env):
        raise ExecError("exec.env: expected a list of names and values")
    if "/" in command and not os.path.isabs(command):
        command = str(directory / command)
    return ExecPlugin(
        command=command,
        args=tuple(args),
        env=tuple((one["name"], str(one.get("value") or "")) for one in env),
        api_version=api_version,
        interactive_mode=mode,
        install_hint=str(body.get("installHint") or ""),
        cluster=json.dumps(_cluster_shown(cluster)) if body.get("provideClusterInfo") is True else "",
    )


def _cluster_shown(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """spec.cluster of what the program is told: the kubeconfig's cluster, and what an extension says to this program."""
    keys = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
    shown = {key: cluster[key] for key in keys if cluster.get(key)}
    for item in cluster.get("extensions") or ():
        if isinstance(item, dict) and item.get("name") == f"{GROUP}/exec":
            shown["config"] = item.get("extension")
    return shown


class ExecSource:
    """The credential of one plugin, as long as it is good. Not for several threads at once."""

    def __init__(self, plugin: ExecPlugin) -> None:
        self.plugin = plugin
        self._held: Credential | None = None

    @property
    def held(self) -> Credential | None:
        """The credential, when there is a good one already."""
        return self._held if self._held is not None and not self._held.is_expired else None

    def current(self) -> Credential:
        """A credential that is not past its time; runs the program when needed. Raises ExecError."""
        held = self.held
        if held is None:
            held = self._held = run_plugin(self.plugin)
        return held

    def renewed(self, refused: Credential) -> Credential:
        """Another one than `refused`, which the server did not take. Raises ExecError."""
        if self._held is refused:
            self._held = None
        return self.current()


def run_plugin(plugin: ExecPlugin) -> Credential:
    """Run the program once. Its stderr is ours; its stdin too, when somebody sits there. Raises ExecError."""
    import subprocess

    interactive = _interactive(plugin)
    info: dict[str, Any] = {"interactive": interactive}
    if plugin.cluster:
        info["cluster"] = json.loads(plugin.cluster)
    told = json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": info})
    timeout_s = INTERACTIVE_TIMEOUT_S if interactive else TIMEOUT_S
    try:
        done = subprocess.run(
            [plugin.command, *plugin.args],
            env={**os.environ, **dict(plugin.env), INFO_VARIABLE: told},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        hint = f"\n{plugin.install_hint}" if plugin.install_hint else ""
        raise ExecError(f"the credential program {plugin.command} is not installed{hint}") from error
    except subprocess.TimeoutExpired as error:
        raise ExecError(f"the credential program {plugin.command} said nothing for {timeout_s:g} s") from error
    except OSError as error:
        raise ExecError(f"the credential program {plugin.command} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise ExecError(f"the credential program {plugin.command} failed with exit code {done.returncode}")
    return _credential(plugin, done.stdout)


def _interactive(plugin: ExecPlugin) -> bool:
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive_mode == "Always" and not terminal:
        raise ExecError(f"the credential program {plugin.command} asks questions, and standard input is no terminal")
    return terminal and plugin.interactive_mode != "Never"


def _credential(plugin: ExecPlugin, output: bytes) -> Credential:
    """What the program printed, checked as client-go checks it."""
    said = f"the credential program {plugin.command} printed"
    if len(output) > OUTPUT_BYTES_MAX:
        raise ExecError(f"{said} more than {OUTPUT_BYTES_MAX} bytes")
    try:
        body = json.loads(output)
    except ValueError as error:
        raise ExecError(f"{said} no JSON: expected an ExecCredential") from error
    if not isinstance(body, dict) or body.get("kind") != "ExecCredential":
        raise ExecError(f"{said} something else than an ExecCredential")
    if body.get("apiVersion") != plugin.api_version:
        raise ExecError(f"{said} apiVersion {body.get('apiVersion')!r}, and the kubeconfig says {plugin.api_version}")
    status = body.get("status")
    if not isinstance(status, dict):
        raise ExecError(f"{said} an ExecCredential without status")
    token, certificate, key = (_text(status, k) for k in ("token", "clientCertificateData", "clientKeyData"))
    if (certificate is None) != (key is None):
        raise ExecError(f"{said} a certificate without its key, or a key without its certificate")
    if token is None and certificate is None:
        raise ExecError(f"{said} neither a token nor a certificate")
    return Credential(
        token,
        certificate.encode() if certificate else None,
        key.encode() if key else None,
        _moment(_text(status, "expirationTimestamp"), said),
    )


def _text(status: Mapping[str, Any], key: str) -> str | None:
    value = status.get(key)
    if value is not None and not isinstance(value, str):
        raise ExecError(f"status.{key} of an ExecCredential: expected text, got {type(value).__name__}")
    return value or None


def _moment(text: str | None, said: str) -> datetime | None:
    if text is None:
        return None
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ExecError(f"{said} expirationTimestamp {text!r}: expected RFC 3339") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
