"""`starkctl config` on real files, side by side with what kubectl makes of the same."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stark.ctl.__main__ import main
from tests.support.kubectl import kubectl

Told = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def ours(*words: str) -> None:
    assert main(["config", *words]) == 0, words


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def test_a_kubeconfig_made_from_nothing_is_what_kubectl_makes(home: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("PEM")
    lines = [
        [
            "set-cluster",
            "c",
            "--server=https://a.example:6443",
            f"--certificate-authority={tmp_path}/ca.crt",
            "--embed-certs",
        ],
        ["set-credentials", "u", "--token=secret"],
        ["set-context", "x", "--cluster=c", "--user=u", "--namespace=team"],
        ["use-context", "x"],
        ["set-context", "--current", "--namespace=other"],
        ["rename-context", "x", "y"],
    ]
    for line in lines:
        ours(*line)
        theirs = [str(kubectl()), "--kubeconfig", str(tmp_path / "theirs"), "config", *line]
        subprocess.run(theirs, check=True, capture_output=True, timeout=30)
    mine, others = read(home / ".kube" / "config"), read(tmp_path / "theirs")
    for body in (mine, others):
        for cluster in body["clusters"]:
            named = cluster["cluster"].pop("certificate-authority-data")
            assert base64.b64decode(named) == b"PEM"
        body.pop("preferences", None)
    assert mine == others
    assert stat.S_IMODE((home / ".kube" / "config").stat().st_mode) == 0o600
    assert os.listdir(home / ".kube") == ["config"]


def test_secrets_are_shown_only_when_asked_for(home: Path, capsys: Told) -> None:
    ours("set-credentials", "u", "--token=secret")
    ours("set-cluster", "c", "--server=https://a")
    ours("set-context", "x", "--cluster=c", "--user=u")
    capsys.readouterr()
    ours("view")
    assert "secret" not in (told := capsys.readouterr().out)
    assert "REDACTED" in told
    ours("view", "--raw", "--minify", "--context", "x")
    assert yaml.safe_load(capsys.readouterr().out)["users"] == [{"name": "u", "user": {"token": "secret"}}]


def test_a_flat_view_is_good_anywhere(home: Path, tmp_path: Path, capsys: Told) -> None:
    (home / ".kube").mkdir()
    (home / ".kube" / "ca.crt").write_text("PEM")
    config = {"clusters": [{"name": "c", "cluster": {"server": "https://a", "certificate-authority": "ca.crt"}}]}
    (home / ".kube" / "config").write_text(yaml.safe_dump(config))
    ours("view", "--flatten", "--raw")
    (cluster,) = yaml.safe_load(capsys.readouterr().out)["clusters"]
    assert cluster["cluster"] == {
        "server": "https://a",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
    }


def test_of_several_files_the_one_that_has_it_is_changed_and_new_things_go_into_the_first(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    ours("set-context", "a", "--cluster=c", "--kubeconfig", str(one))
    ours("set-context", "b", "--cluster=c", "--kubeconfig", str(two))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/missing:{one}:{two}")
    ours("set-context", "b", "--namespace=n")
    ours("set-context", "new", "--cluster=c")
    assert [each["name"] for each in read(one)["contexts"]] == ["a", "new"]
    assert read(two)["contexts"] == [{"name": "b", "context": {"cluster": "c", "namespace": "n"}}]
    ours("delete-context", "b")
    assert read(two)["contexts"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["use-context", "none"], "no context exists with the name: 'none'; there are: x"),
        (["current-context"], "current-context is not set"),
        (["view", "--minify"], "current-context is not set"),
        (["set-cluster", "c", "--server", "a.example"], "expected a URL"),
        (["set-credentials", "u", "--embed-certs"], "--embed-certs needs"),
        (["set-context", "--namespace", "n"], "name a context, or say --current"),
        (["rename-context", "x", "x"], "already"),
        (["delete-user", "nobody"], "no user exists"),
        (["set-credentials", "u", "--embed-certs", "--client-key", "/none"], "cannot read /none"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(home: Path, words: list[str], said: str, capsys: Told) -> None:
    ours("set-context", "x", "--cluster=c")
    capsys.readouterr()
    assert main(["config", *words]) != 0
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_a_table_of_contexts_marks_the_one_in_use(home: Path, capsys: Told) -> None:
    ours("set-context", "x", "--cluster=c", "--user=u")
    ours("set-context", "w", "--cluster=c", "--namespace=n")
    ours("use-context", "w")
    capsys.readouterr()
    ours("get-contexts")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"], ["*", "w", "c", "n"], ["x", "c", "u"]]
    ours("get-contexts", "-o", "name")
    assert capsys.readouterr().out == "w\nx\n"
