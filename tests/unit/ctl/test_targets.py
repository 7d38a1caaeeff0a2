"""What people type is understood as kubectl would, and what cannot be understood is said with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stark.ctl.errors import CommandError, UsageError
from stark.ctl.resources import Kind
from stark.ctl.targets import Target, parse_targets, read_manifests

PODS = Kind("", "v1", "Pod", "pods", "pod", True, ("po",), ("all",))
DEPLOYMENTS = Kind("apps", "v1", "Deployment", "deployments", "deployment", True, ("deploy",), ("all",))


class Known:
    """The two kinds above, found by their names."""

    def resolve(self, name: str) -> Kind:
        for kind in (PODS, DEPLOYMENTS):
            if name.lower() in kind.names():
                return kind
        raise CommandError(f'the server does not have a resource type "{name}"')

    def category(self, name: str) -> list[Kind]:
        return [kind for kind in (PODS, DEPLOYMENTS) if name in kind.categories]


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        pytest.param(["pods"], [Target(PODS)], id="a plural"),
        pytest.param(["po"], [Target(PODS)], id="a short name"),
        pytest.param(["Pod", "a", "b"], [Target(PODS, ("a", "b"))], id="a kind and names"),
        pytest.param(["pods,deploy"], [Target(PODS), Target(DEPLOYMENTS)], id="two types"),
        pytest.param(["all"], [Target(PODS), Target(DEPLOYMENTS)], id="a category"),
        pytest.param(
            ["pod/a", "deployments.apps/b"], [Target(PODS, ("a",)), Target(DEPLOYMENTS, ("b",))], id="slashes"
        ),
        pytest.param(["deployments.v1.apps"], [Target(DEPLOYMENTS)], id="with version and group"),
    ],
)
def test_targets_are_understood(words: list[str], targets: list[Target]) -> None:
    assert parse_targets(words, Known()) == targets  # type: ignore[arg-type]  # the two methods it asks for


@pytest.mark.parametrize(
    "words", [[], ["pods,deploy", "a"], ["pod/a", "b"], ["pod/"], ["/a"], ["pod/a/b"]], ids=" ".join
)
def test_what_cannot_be_meant_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_targets(words, Known())  # type: ignore[arg-type]  # the two methods it asks for


def manifest(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_a_directory_is_read_in_order_and_only_its_manifests(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n---\n" * 2)
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}')
    (tmp_path / "notes.txt").write_text("not a manifest")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.yml").write_text("apiVersion: v1\nkind: ConfigMapList\nitems:\n- " + str(manifest("c")))
    assert read_manifests([str(tmp_path)]) == [manifest("a"), manifest("b"), manifest("b")]
    assert [m["metadata"]["name"] for m in read_manifests([str(tmp_path)], recursive=True)] == ["a", "b", "b", "c"]


def test_dates_in_yaml_stay_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: 2026-01-02}\n")
    assert read_manifests([str(tmp_path / "a.yaml")])[0]["data"] == {"day": "2026-01-02"}


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: [\n")
    with pytest.raises(CommandError, match=r"a\.yaml, line 3"):
        read_manifests([str(tmp_path / "a.yaml")])
