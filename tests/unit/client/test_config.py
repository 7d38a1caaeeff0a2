"""Finding the server as kubectl does, and saying exactly what is wrong with a kubeconfig."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stark.client.config import ConfigError, Impersonation, in_cluster, load_kubeconfig
from stark.client.exec_plugins import ExecPlugin

V1 = "client.authentication.k8s.io/v1"


def kubeconfig(path: Path, **changes: Any) -> Path:
    body = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        **changes,
    }
    path.write_text(yaml.safe_dump(body))
    return path


def test_a_complete_file_gives_server_namespace_and_credentials(tmp_path: Path) -> None:
    ca = base64.b64encode(b"CA PEM").decode()
    (tmp_path / "me.crt").write_text("CERT")
    (tmp_path / "me.key").write_text("KEY")
    file = kubeconfig(
        tmp_path / "config",
        clusters=[
            {
                "name": "c",
                "cluster": {
                    "server": "https://127.0.0.1:6443/",
                    "certificate-authority-data": ca,
                    "tls-server-name": "stark",
                },
            }
        ],
        users=[{"name": "u", "user": {"client-certificate": "me.crt", "client-key": "me.key"}}],
    )
    config = load_kubeconfig(file)
    assert config.server == "https://127.0.0.1:6443"
    assert (config.namespace, config.context, config.tls_server_name) == ("team", "here", "stark")
    assert (config.ca_data, config.client_cert_data, config.client_key_data) == (b"CA PEM", b"CERT", b"KEY")
    assert "KEY" not in repr(config)


def test_a_json_file_is_read_without_importing_yaml(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        '{"current-context":"x","clusters":[{"name":"c","cluster":{"server":"http://h"}}],'
        '"contexts":[{"name":"x","context":{"cluster":"c"}}]}'
    )
    program = (
        "import sys; from stark.client.config import load_kubeconfig; from stark.client.tls import ssl_context;"
        f"print(load_kubeconfig({str(file)!r}).server);"
        "bad = {'yaml', 'aiohttp', 'pydantic', 'orjson'} & set(sys.modules);"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "http://h"


def test_the_files_of_the_kubeconfig_variable_are_merged_and_the_first_to_name_something_wins(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "one", clusters=[], users=[{"name": "u", "user": {"token": "first"}}])
    second = kubeconfig(tmp_path / "two", **{"current-context": "other"})
    environ = {"KUBECONFIG": f"{first}:{tmp_path / 'absent'}:{second}"}
    config = load_kubeconfig(environ=environ)
    assert (config.context, config.token, config.server) == ("here", "first", "https://127.0.0.1:6443")


def test_without_a_file_a_pods_service_account_is_used_and_else_the_places_looked_at_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"looked at .*\.kube/config"):
        load_kubeconfig(environ={"HOME": str(tmp_path)})
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "namespace").write_text("apps\n")
    config = in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert (config.server, config.namespace) == ("https://[fd00::1]:443", "apps")
    assert config.token_file == tmp_path / "token"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"current-context": ""}, None, id="no current context but only one to choose"),
        pytest.param({"current-context": "there"}, r"no context named 'there' \(known: here\)", id="unknown context"),
        pytest.param({"clusters": []}, r"no cluster of context here named 'c'", id="missing cluster"),
        pytest.param({"clusters": "x"}, r"clusters: expected a list", id="clusters of the wrong shape"),
        pytest.param({"clusters": [{"cluster": {}}]}, r"clusters\[0\]\.name: missing", id="a cluster without a name"),
        pytest.param(
            {"clusters": [{"name": "c", "cluster": {}}]}, r"clusters\[c\]\.cluster\.server: missing", id="no server"
        ),
        pytest.param(
            {"clusters": [{"name": "c", "cluster": {"server": "127.0.0.1"}}]},
            "expected http",
            id="server without scheme",
        ),
        pytest.param(
            {"clusters": [{"name": "c", "cluster": {"server": "https://h", "certificate-authority-data": "%"}}]},
            r"certificate-authority-data: not base64",
            id="a broken certificate",
        ),
        pytest.param(
            {"clusters": [{"name": "c", "cluster": {"server": "https://h", "certificate-authority": "no.crt"}}]},
            r"clusters\[c\]\.cluster\.certificate-authority: cannot read .*no\.crt",
            id="a certificate file that is not there",
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"auth-provider": {"name": "x"}}}]},
            "auth-provider: not supported",
            id="a way of identification that Kubernetes has given up",
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"exec": {"command": "x"}}}]},
            r"users\[u\]\.user\.exec\.apiVersion: expected one of .*, got None",
            id="a credential program of no version",
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"exec": {"command": "x", "apiVersion": V1}}}]},
            r"exec\.interactiveMode: expected one of Never, IfAvailable, Always, got ''",
            id="a credential program that does not say whether it asks",
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"as-groups": ["a"]}}]},
            "as: missing beside as-groups",
            id="groups of nobody",
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"client-key-data": "eA=="}}]},
            "client-certificate: missing beside its other half",
            id="a key without a certificate",
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"token": 7}}]}, "token: expected text, got int", id="token no text"
        ),
    ],
)
def test_a_complaint_names_the_file_and_the_key(tmp_path: Path, changes: Any, complaint: str | None) -> None:
    file = kubeconfig(tmp_path / "config", **changes)
    if complaint is None:
        assert load_kubeconfig(file).context == "here"
        return
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_kubeconfig(file)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "{", "- just\n- a list"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ConfigError, match=str(file)):
        load_kubeconfig(file)
    with pytest.raises(ConfigError, match="no such kubeconfig"):
        load_kubeconfig(tmp_path / "absent")


def test_a_credential_program_is_found_beside_its_file_and_told_of_the_cluster(tmp_path: Path) -> None:
    config = {"apiVersion": V1, "interactiveMode": "Never", "provideClusterInfo": True, "args": ["-x"]}
    program = {"command": "bin/tokens", "env": [{"name": "A", "value": "b"}], **config}
    (tmp_path / "ca.crt").write_text("CA")
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "stark"}}
    cluster = {"server": "https://h", "certificate-authority": "ca.crt", "extensions": [extension]}
    found = load_kubeconfig(
        kubeconfig(
            tmp_path / "config",
            clusters=[{"name": "c", "cluster": cluster}],
            users=[{"name": "u", "user": {"exec": program}}],
        )
    ).exec_plugin
    told = '{"server": "https://h", "certificate-authority-data": "Q0E=", "config": {"audience": "stark"}}'
    command = str(tmp_path / "bin" / "tokens")
    assert found == ExecPlugin(command, ("-x",), (("A", "b"),), V1, "Never", "", told)


def test_whom_to_act_as_is_a_header_a_group_and_a_value(tmp_path: Path) -> None:
    user = {"as": "ada", "as-uid": "7", "as-groups": ["g1", "g2"], "as-user-extra": {"a/b": ["1", "2"]}}
    found = load_kubeconfig(kubeconfig(tmp_path / "config", users=[{"name": "u", "user": user}])).impersonate
    assert found == Impersonation("ada", ("g1", "g2"), "7", (("a/b", "1"), ("a/b", "2")))
    assert found.headers() == [
        ("Impersonate-User", "ada"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g2"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-a%2Fb", "1"),
        ("Impersonate-Extra-a%2Fb", "2"),
    ]
