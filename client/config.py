"""Where the API server is and who we are, as kubectl finds it out: $KUBECONFIG, ~/.kube/config, or inside a cluster.

Only the standard library, and YAML when a file needs it: the command line reuses this module and must start fast.
Certificates named by path are read here, so a `ClientConfig` is complete and can be handed to another process.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .exec_plugins import ExecError, ExecPlugin, parse_plugin

IN_CLUSTER_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KUBECONFIG_BYTES_MAX = 4 * 1024 * 1024  # a longer file is no kubeconfig: refuse it


class ConfigError(ValueError):
    """The kubeconfig cannot be used; the message names the file and the key."""


class Impersonation(NamedTuple):
    """Whom to act as: Kubernetes' `Impersonate-*` headers. The server asks whether we may."""

    user: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    """Keys with values; a key may come several times."""

    def headers(self) -> list[tuple[str, str]]:
        """The header fields, in order; a group each."""
        from urllib.parse import quote

        fields = [("Impersonate-User", self.user)] if self.user else []
        fields += [("Impersonate-Group", group) for group in self.groups]
        fields += [("Impersonate-Uid", self.uid)] if self.uid else []
        return fields + [(f"Impersonate-Extra-{quote(key, safe='')}", value) for key, value in self.extra]


class ClientConfig(NamedTuple):
    """Everything needed to open a connection. PEM texts are bytes; secrets are kept out of `repr`.

    A tuple and not a dataclass: importing `dataclasses` costs starkctl a whole Python start.
    """

    server: str
    """URL without a trailing slash, e.g. `https://127.0.0.1:6443`."""
    namespace: str = "default"
    ca_data: bytes | None = None
    """PEM of the authorities to trust; None trusts the system's."""
    client_cert_data: bytes | None = None
    client_key_data: bytes | None = None
    token: str | None = None
    token_file: Path | None = None
    """Read again every minute, because service-account tokens rotate."""
    exec_plugin: ExecPlugin | None = None
    """The program that hands out the credentials."""
    impersonate: Impersonation = Impersonation()
    tls_server_name: str | None = None
    insecure: bool = False
    """Do not verify the server's certificate."""
    context: str = ""
    source: str = ""
    """The file or place this came from, for messages."""

    def __repr__(self) -> str:
        return f"ClientConfig(server={self.server!r}, context={self.context!r}, source={self.source!r})"


def load_kubeconfig(
    path: str | Path | None = None, context: str | None = None, *, environ: Mapping[str, str] = os.environ
) -> ClientConfig:
    """The configuration of `context` (default: current-context). Raises ConfigError.

    Looks at `path`; else at the files of $KUBECONFIG, merged as kubectl does (the first to name something wins);
    else at ~/.kube/config; else at the pod's service account.
    """
    files = kubeconfig_files(path, environ)
    present = [file for file in files if file.is_file()]
    if path is not None and not present:
        raise ConfigError(f"{path}: no such kubeconfig")
    if not present:
        if "KUBERNETES_SERVICE_HOST" in environ:
            return in_cluster(environ)
        raise ConfigError(f"no kubeconfig: looked at {', '.join(map(str, files))}; set KUBECONFIG or pass --kubeconfig")
    return _Merged.of(present).resolve(context)


def in_cluster(environ: Mapping[str, str] = os.environ, directory: Path = IN_CLUSTER_DIR) -> ClientConfig:
    """The configuration of a program in a pod with a service account. Raises ConfigError outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigError("not in a cluster: KUBERNETES_SERVICE_HOST is not set")
    namespace = directory / "namespace"
    return ClientConfig(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
        ca_data=_read_file(directory / "ca.crt", "in-cluster"),
        token_file=directory / "token",
        source=str(directory),
    )


def kubeconfig_files(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where kubeconfigs are looked for, there or not: `path`, else $KUBECONFIG, else ~/.kube/config."""
    if path is not None:
        return [Path(path).expanduser()]
    listed = [Path(part).expanduser() for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"]


class _Entry(NamedTuple):
    """One named cluster, user or context, and the file that named it."""

    file: Path
    where: str
    body: Mapping[str, Any]

    def text(self, key: str) -> str | None:
        value = self.body.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise ConfigError(f"{self.file}: {self.where}.{key}: expected text, got {type(value).__name__}")
        return value

    def pem(self, key: str) -> bytes | None:
        """`<key>-data` (base64) or the file named by `<key>`, as kubectl prefers them."""
        inline = self.text(f"{key}-data")
        if inline is not None:
            try:
                return base64.b64decode(inline, validate=True)
            except binascii.Error as error:
                raise ConfigError(f"{self.file}: {self.where}.{key}-data: not base64: {error}") from error
        named = self.text(key)
        if named is None:
            return None
        return _read_file(self.file.parent / Path(named).expanduser(), f"{self.file}: {self.where}.{key}")

    def refuse(self, *keys: str) -> None:
        for key in keys:
            if self.body.get(key):
                raise ConfigError(f"{self.file}: {self.where}.{key}: not supported; use a certificate or a token")


class _Merged:
    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.current = ""
        self.clusters: dict[str, _Entry] = {}
        self.users: dict[str, _Entry] = {}
        self.contexts: dict[str, _Entry] = {}

    @classmethod
    def of(cls, files: Sequence[Path]) -> _Merged:
        merged = cls(list(files))
        for file in files:
            body = read_kubeconfig(file)
            merged.current = merged.current or str(body.get("current-context") or "")
            _collect(file, body, "clusters", "cluster", merged.clusters)
            _collect(file, body, "users", "user", merged.users)
            _collect(file, body, "contexts", "context", merged.contexts)
        return merged

    def resolve(self, name: str | None) -> ClientConfig:
        name = name or self.current
        if not name and len(self.contexts) == 1:
            name = next(iter(self.contexts))
        if not name:
            raise ConfigError(f"{self._named()}: current-context is not set")
        context = self._entry(self.contexts, name, "context")
        cluster = self._entry(self.clusters, context.text("cluster") or "", f"cluster of context {name}")
        user_name = context.text("user")
        user = self._entry(self.users, user_name, f"user of context {name}") if user_name else None
        server = cluster.text("server")
        if server is None:
            raise ConfigError(f"{cluster.file}: {cluster.where}.server: missing")
        if not server.startswith(("https://", "http://")):
            raise ConfigError(f"{cluster.file}: {cluster.where}.server: expected http(s)://..., got {server!r}")
        cluster.refuse("proxy-url")
        return ClientConfig(
            server=server.rstrip("/"),
            namespace=context.text("namespace") or "default",
            ca_data=cluster.pem("certificate-authority"),
            tls_server_name=cluster.text("tls-server-name"),
            insecure=cluster.body.get("insecure-skip-tls-verify") is True,
            context=name,
            source=str(cluster.file),
            **_credentials(user, cluster),
        )

    def _entry(self, entries: Mapping[str, _Entry], name: str, role: str) -> _Entry:
        if name in entries:
            return entries[name]
        known = ", ".join(sorted(entries)) or "none"
        raise ConfigError(f"{self._named()}: no {role} named {name!r} (known: {known})")

    def _named(self) -> str:
        return os.pathsep.join(map(str, self.files))


def _credentials(user: _Entry | None, cluster: _Entry) -> dict[str, Any]:
    if user is None:
        return {}
    user.refuse("auth-provider", "username", "password")
    cert, key = user.pem("client-certificate"), user.pem("client-key")
    if (cert is None) != (key is None):
        missing = "client-key" if key is None else "client-certificate"
        raise ConfigError(f"{user.file}: {user.where}.{missing}: missing beside its other half")
    token, token_file = user.text("token"), user.text("tokenFile")
    return {
        "client_cert_data": cert,
        "client_key_data": key,
        "token": token,
        "token_file": user.file.parent / Path(token_file).expanduser() if token_file and not token else None,
        "exec_plugin": _exec_plugin(user, cluster),
        "impersonate": _impersonation(user),
    }


def _exec_plugin(user: _Entry, cluster: _Entry) -> ExecPlugin | None:
    body = user.body.get("exec")
    if body is None:
        return None
    if not isinstance(body, dict):
        raise ConfigError(f"{user.file}: {user.where}.exec: expected a mapping")
    given = dict(cluster.body)
    authority = cluster.pem("certificate-authority")
    if authority is not None:
        given["certificate-authority-data"] = base64.b64encode(authority).decode()
    try:
        return parse_plugin(body, user.file.parent, given)
    except ExecError as error:
        raise ConfigError(f"{user.file}: {user.where}.{error}") from error


def _impersonation(user: _Entry) -> Impersonation:
    groups, extra = user.body.get("as-groups") or [], user.body.get("as-user-extra") or {}
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise ConfigError(f"{user.file}: {user.where}.as-groups: expected a list of texts")
    if not isinstance(extra, dict) or not all(isinstance(values, list) for values in extra.values()):
        raise ConfigError(f"{user.file}: {user.where}.as-user-extra: expected lists of texts by key")
    found = Impersonation(
        user.text("as") or "",
        tuple(groups),
        user.text("as-uid") or "",
        tuple((str(key), str(value)) for key, values in extra.items() for value in values),
    )
    if not found.user and any(found):
        raise ConfigError(f"{user.file}: {user.where}.as: missing beside as-groups, as-uid or as-user-extra")
    return found


def _collect(file: Path, body: Mapping[str, Any], plural: str, singular: str, into: dict[str, _Entry]) -> None:
    listed = body.get(plural) or []
    if not isinstance(listed, list):
        raise ConfigError(f"{file}: {plural}: expected a list, got {type(listed).__name__}")
    for index, item in enumerate(listed):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise ConfigError(f"{file}: {plural}[{index}].name: missing")
        inner = item.get(singular) or {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{file}: {plural}[{index}].{singular}: expected a mapping")
        into.setdefault(item["name"], _Entry(file, f"{plural}[{item['name']}].{singular}", inner))


def read_kubeconfig(file: Path) -> Mapping[str, Any]:
    """The whole file, as it is. Raises ConfigError."""
    text = _read_file(file, "kubeconfig")
    if text.lstrip().startswith(b"{"):
        try:
            body = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{file}: not JSON: {error}") from error
    else:
        body = _parse_yaml(file, text)
    if not isinstance(body, dict):
        raise ConfigError(f"{file}: expected a mapping with clusters, users and contexts")
    return body


def _parse_yaml(file: Path, text: bytes) -> Any:
    # Imported here because a JSON kubeconfig, which is what our own server writes, does without: 10 ms of a start.
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error


def _read_file(file: Path, wanted_by: str) -> bytes:
    try:
        if file.stat().st_size > KUBECONFIG_BYTES_MAX:
            raise ConfigError(f"{wanted_by}: {file} is over {KUBECONFIG_BYTES_MAX} bytes")
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{wanted_by}: cannot read {file}: {error.strerror}") from error
