"""Which web pages may read answers: those that are allowed by name, and no others."""

from __future__ import annotations

import pytest

from stark.apiserver.cors import Cors


@pytest.mark.parametrize(
    ("allowed", "origin", "may"),
    [
        ("https://localhost:*", "https://localhost:3000", True),
        ("https://localhost:*", "https://localhost", False),
        ("https://localhost:*", "http://localhost:3000", False),
        ("https://localhost:*", "https://localhost:3000.evil.org", False),
        ("https://localhost:*", "https://localhost:3000/path", False),
        ("https://*.example.org", "https://ui.example.org", True),
        ("https://*.example.org", "https://a.b.example.org", False),
        ("https://*.example.org", "https://evil.org/.example.org", False),
        ("https://*.example.org", "https://uiXexample.org", False),
        ("https://ui.example.org", "https://ui.example.org", True),
        ("https://ui.example.org", "null", False),
        ("https://ui.example.org", "https://ui.example.org\n", False),
    ],
)
def test_an_origin_is_allowed_whole_or_not_at_all(allowed: str, origin: str, may: bool) -> None:
    cors = Cors([allowed])
    assert (cors.allows(origin), Cors().allows(origin)) == (may, False)


@pytest.mark.parametrize("text", ["*", "localhost", "ftp://a", "https://a/b", "https://a b", ""])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        Cors([text])
