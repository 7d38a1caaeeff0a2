"""What clients are told beside an answer: in a header, whatever it says and however much there is of it."""

from __future__ import annotations

import pytest

from stark.apiserver.pipeline import WARNING_CUT, WARNINGS_MAX, add_warnings
from stark.apiserver.request import Response


@pytest.mark.parametrize(
    ("texts", "header"),
    [
        pytest.param(["a", "b", "a"], '299 - "a", 299 - "b"', id="each once"),
        pytest.param(['say "x"\\'], r'299 - "say \"x\"\\"', id="quoted"),
        pytest.param(["a\r\nb: c\0"], '299 - "a  b: c "', id="one line"),
        pytest.param(["x" * WARNINGS_MAX], f'299 - "{"x" * WARNINGS_MAX}"', id="a long one alone"),
    ],
)
def test_warnings_are_one_header(texts: list[str], header: str) -> None:
    answer = Response()
    add_warnings(answer, texts)
    assert answer.headers == {"Warning": header}


def test_many_warnings_are_cut_and_some_are_left_out() -> None:
    answer = Response()
    add_warnings(answer, [f"{number:06}" + "x" * 1_000 for number in range(100_000)])
    lines = answer.headers["Warning"].split(", ")
    assert len(lines) == WARNINGS_MAX // WARNING_CUT
    assert {len(line) for line in lines} == {len('299 - ""') + WARNING_CUT}
