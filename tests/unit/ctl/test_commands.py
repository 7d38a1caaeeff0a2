"""The command line as such: options before the command, two-word commands, help for a person, documented exit codes."""

from __future__ import annotations

import pytest

from stark.ctl.__main__ import main, overview, parser_of
from stark.ctl.commands import COMMANDS, GROUPS
from stark.ctl.complete import candidates
from stark.ctl.options import split_command
from stark.ctl.verbs.apply import LAST_APPLIED, remembering


@pytest.mark.parametrize(
    ("argv", "split"),
    [
        (["get", "pods"], ("get", ["pods"])),
        (["-n", "x", "get", "pods"], ("get", ["-n", "x", "pods"])),
        (["--server=https://a", "-k", "get"], ("get", ["--server=https://a", "-k"])),
        (["--help"], (None, ["--help"])),
        ([], (None, [])),
    ],
)
def test_options_before_the_command_count(argv: list[str], split: tuple[str | None, list[str]]) -> None:
    assert split_command(argv) == split


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = parser_of(name).format_help()
    assert f"starkctl {name}" in text
    assert "Examples:" in text
    assert [line for line in text.splitlines() if len(line) > 100] == []


def test_help_is_as_wide_as_the_terminal_and_keeps_the_breaks_of_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    prose, _, examples = parser_of("apply").format_help().partition("Examples:\n")
    assert max(map(len, prose.splitlines())) <= 58
    assert examples.startswith("  starkctl apply -f hello.yaml\n  starkctl apply -f manifests/ -R   ")
    options = examples.partition("\noptions:\n")[2]
    assert "  -f, --filename FILE" in options, "what follows is said once"


def test_the_overview_fits_a_terminal_of_a_hundred_columns() -> None:
    assert [line for line in overview().splitlines() if len(line) > 100] == []


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--version"], 0, "starkctl 0."),
        ([], 0, "Usage: starkctl COMMAND"),
        (["help", "get"], 0, "Examples:"),
        (["pack"], 0, "pack register"),
        (["pack", "frobnicate"], 2, "`pack` has init, bundle, register"),
        (["delet"], 2, "did you mean `delete`?"),
        (["--frob", "get"], 2, "unknown option '--frob'"),
        (["logs", "--since", "1x", "pod"], 1, "kubeconfig"),
        (["auth", "password", "--server", "http://192.0.2.1"], 1, "no password is sent"),
        (["auth", "add-user", "--email", "a@b", "--server", "http://192.0.2.1"], 1, "no password is sent"),
    ],
)
def test_a_command_line_ends_with_its_code(
    argv: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert said in out + err


def test_completion_knows_commands_options_and_second_words() -> None:
    assert candidates(["ge"]) == ["get"]
    assert candidates(["pack", "re"]) == ["register"]
    assert "--field-selector" in candidates(["get", "--fi"])
    assert set(candidates([""])) >= {"get", "pack", "up"}
    assert "pack" in GROUPS


def test_what_was_applied_is_remembered_as_kubectl_writes_it() -> None:
    manifest = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "a", "annotations": {LAST_APPLIED: "old"}},
    }
    remembered = remembering(manifest, "ns")["metadata"]["annotations"][LAST_APPLIED]
    assert remembered == (
        '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{},"name":"a","namespace":"ns"}}\n'
    )
