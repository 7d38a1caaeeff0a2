"""Our JSON patch against the suite that implementations of RFC 6902 share (json-patch-test-suite on npm)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stark.crds.patches import PatchError, json_patch

SUITE = Path(__file__).resolve().parents[3] / ".needs" / "json-patch-test-suite@1.1.0" / "package"
FILES = ("spec_tests.json", "tests.json")


def _cases() -> list[Any]:
    if not SUITE.exists():
        return [pytest.param(None, id="missing")]
    found = []
    for file in FILES:
        for number, case in enumerate(json.loads((SUITE / file).read_text())):
            if not case.get("disabled") and "patch" in case:
                found.append(pytest.param(case, id=f"{file}-{number}-{case.get('comment', '')}"))
    return found


@pytest.mark.parametrize("case", _cases())
def test_a_case_of_the_shared_suite(case: dict[str, Any] | None) -> None:
    assert case is not None, f"{SUITE} is missing; run: tests/needs.sh"
    if "error" in case:
        with pytest.raises(PatchError):
            json_patch(case["doc"], case["patch"])
    else:
        assert json_patch(case["doc"], case["patch"]) == case.get("expected", case["doc"])
