"""~/.stark: what may be in it, who may read it, and which server a command takes from it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from stark.ctl.errors import CommandError, UsageError
from stark.ctl.finding import connect, locate
from stark.ctl.home import Credentials, Home
from stark.ctl.options import Parser, Session, add_global_options

HERE, THERE = "https://here:6443", "https://there"


def credentials(server: str = HERE) -> Credentials:
    return Credentials(server, "access", "refresh", "2999-01-01T00:00:00Z", "7", "ada@example.com")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return Home(tmp_path / "stark")


def arguments(*words: str) -> argparse.Namespace:
    parser = Parser()
    add_global_options(parser)
    return parser.parse_args(words)


def kubeconfig(path: Path, user: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    cluster = {"name": "c", "cluster": {"server": "https://kube"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": user}]
    body = {"clusters": [cluster], "users": users, "contexts": [context], "current-context": "x"}
    path.write_text(json.dumps(body))
    return path


def test_what_is_kept_is_for_its_owner_alone_and_leaves_no_trace_when_it_goes(home: Home) -> None:
    home.directory.mkdir(mode=0o755)
    home.remember_server(HERE, b"CA")
    home.save_credentials(credentials())
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.directory.iterdir()}
    assert modes == {"config.json": 0o600, "credentials.json": 0o600, "ca.crt": 0o600}
    assert home.directory.stat().st_mode & 0o777 == 0o700
    assert home.credentials() == credentials()
    assert set(json.loads(home.credentials_file.read_text())) == {
        *("apiUrl", "accessToken", "refreshToken", "expiresAt", "userId", "email")
    }
    assert "access" not in repr(credentials()).replace("access_token", "")
    home.forget_credentials()
    home.forget_credentials()
    assert home.credentials() is None


def test_a_directory_of_everybodys_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(CommandError, match="is shared with others"):
        Home(shared).save_credentials(credentials())
    assert (shared.stat().st_mode & 0o7777, list(shared.iterdir())) == (0o1777, [])


def test_what_a_person_wrote_stays_when_somebody_logs_in(home: Home) -> None:
    home.directory.mkdir()
    mine = {"defaultNamespace": "team", "supabaseUrl": "http://127.0.0.1:54321"}
    home.config_file.write_text(json.dumps(mine))
    home.remember_server(HERE, None)
    assert json.loads(home.config_file.read_text()) == {**mine, "apiUrl": HERE}
    assert home.config().former == ("supabaseUrl",)


def test_a_list_is_shown_as_asked_else_as_configured_else_as_a_table(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARK_HOME", str(home.directory))
    assert Session(arguments()).form(None) == "table"
    home.directory.mkdir()
    home.config_file.write_text('{"defaultOutputFormat": "plain", "apiUrl": "https://h", "defaultNamespace": "team"}')
    session = Session(arguments())
    assert (session.form(None), session.form("wide"), session.namespace) == ("plain", "wide", "team")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("{", "not JSON", id="half a file"),
        pytest.param("[]", "expected an object", id="a list"),
        pytest.param('{"apiURL": "x"}', "unknown key 'apiURL'", id="a misspelled key"),
        pytest.param('{"apiUrl": 7}', "apiUrl: expected text, got int", id="a number"),
        pytest.param(
            '{"defaultOutputFormat": "xml"}', "expected one of table, json, plain", id="a format nobody knows"
        ),
        pytest.param(
            '{"apiUrl": "https://h", "caFile": "no.crt"}', "caFile: .*no.crt does not exist", id="no authority"
        ),
    ],
)
def test_a_complaint_about_the_configuration_names_file_and_key(home: Home, text: str, complaint: str) -> None:
    home.directory.mkdir()
    home.config_file.write_text(text)
    with pytest.raises(CommandError, match=complaint) as caught:
        locate(arguments(), home)
    assert str(home.config_file) in str(caught.value)


@pytest.mark.parametrize(
    ("words", "server", "token"),
    [
        pytest.param((), HERE, "access", id="the login, when nothing is said"),
        pytest.param(("--server", HERE), HERE, "access", id="the login, when its server is named"),
        pytest.param(("--server", THERE), THERE, "", id="nobody, at a server that did not give the login"),
        pytest.param(("--token", "t"), HERE, "t", id="the token that was said"),
        pytest.param(("--server", THERE, "--token", "t"), THERE, "t", id="the token, at a server that is named"),
        pytest.param(("--kubeconfig", "FILE"), "https://kube", "kube", id="a kubeconfig that is named"),
        pytest.param(("--context", "x"), "https://kube", "kube", id="a context that is named"),
    ],
)
def test_the_login_goes_only_to_its_server(home: Home, words: tuple[str, ...], server: str, token: str) -> None:
    home.remember_server(HERE, None)
    home.save_credentials(credentials())
    file = kubeconfig(home.directory.parent / ".kube" / "config", {"token": "kube"})
    api = connect(arguments(*(word.replace("FILE", str(file)) for word in words)), home)
    assert (api.config.server, api.identity.token()) == (server, token)


def test_a_kubeconfig_in_the_environment_goes_before_the_login(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.remember_server("https://kube", None)
    home.save_credentials(credentials("https://kube"))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(home.directory.parent / "k" / "config", {})))
    assert connect(arguments(), home).identity.token() == ""


def test_a_credential_program_is_run_for_the_command_and_a_command_line_acts_as_whom_it_says(home: Home) -> None:
    said = json.dumps(
        {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "made"}}
    )
    program = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "printf", "args": ["%s", said]}
    kubeconfig(home.directory.parent / ".kube" / "config", {"exec": program, "as": "somebody"})
    api = connect(arguments("--as", "ada", "--as-group", "g1", "--as-group", "g2", "--as-user-extra", "k=v"), home)
    assert api.identity.token() == "made"
    assert api.config.impersonate.headers() == [
        ("Impersonate-User", "ada"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g2"),
        ("Impersonate-Extra-k", "v"),
    ]
    assert connect(arguments(), home).config.impersonate.user == "somebody"
    with pytest.raises(UsageError, match="need --as"):
        connect(arguments("--as-group", "g"), home)
