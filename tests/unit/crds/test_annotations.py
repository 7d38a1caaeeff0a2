"""Annotations are read with their types, and complaints name them."""

from __future__ import annotations

import pytest

from stark.crds.annotations import (
    BLOCKED_VERSIONS,
    FOLLOW_LATEST,
    PORTS,
    AnnotationError,
    BlockedVersion,
    blocked_versions,
    flag,
    format_blocked_versions,
    host_ports,
    runtime_label,
)


def test_a_flag_is_true_only_when_it_says_so() -> None:
    assert flag({FOLLOW_LATEST: "true"}, FOLLOW_LATEST)
    assert not flag({FOLLOW_LATEST: "yes"}, FOLLOW_LATEST)
    assert not flag(None, FOLLOW_LATEST)


def test_blocked_versions_are_read_as_they_were_written() -> None:
    blocked = (BlockedVersion("1.2.0", "2026-01-02T03:04:05Z", 2),)
    assert blocked_versions({BLOCKED_VERSIONS: format_blocked_versions(blocked)}) == blocked
    assert blocked_versions({}) == ()
    with pytest.raises(AnnotationError, match=r"stark\.dev/blocked-versions"):
        blocked_versions({BLOCKED_VERSIONS: '[{"version": "1.0.0"}]'})


def test_ports_are_read_by_name() -> None:
    assert host_ports({PORTS: '{"http": 31000}'}) == {"http": 31000}
    assert host_ports(None) == {}
    with pytest.raises(AnnotationError, match=r"stark\.dev/ports"):
        host_ports({PORTS: "[1]"})
    for text in ('{"a":1e999}', "[" * 100_000):
        with pytest.raises(AnnotationError, match=r"stark\.dev/ports"):
            host_ports({PORTS: text})


def test_a_runtime_has_a_label() -> None:
    assert runtime_label("node") == "stark.dev/runtime-node"
