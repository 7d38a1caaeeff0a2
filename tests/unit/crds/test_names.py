"""Names are judged by Kubernetes' rules and in its words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stark.crds.names import (
    config_key_problems,
    dns_label_1035_problems,
    dns_label_problems,
    dns_subdomain_problems,
    env_name_problems,
    label_key_problems,
    label_value_problems,
    path_segment_problems,
    port_name_problems,
)

Judge = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("judge", "good", "bad"),
    [
        (dns_label_problems, ["a", "a-1", "0", "a" * 63], ["", "A", "a.b", "-a", "a-", "a" * 64, "a\n", "ä"]),
        (dns_label_1035_problems, ["a", "a-1"], ["1a", "", "A", "a-"]),
        (
            dns_subdomain_problems,
            ["a", "a.b-c.d", "0.1", "a" * 253],
            ["", "a..b", ".a", "a.", "a_b", "a" * 254, "a.-b"],
        ),
        (
            label_key_problems,
            ["a", "a.b_C", "x.io/A", "a" * 63],
            ["", "/a", "a/", "a/b/c", "A/b", "-a", "a" * 64, "x/ y"],
        ),
        (label_value_problems, ["", "a", "A_b.c-1", "a" * 63], ["-a", "a-", "a b", "a" * 64, "a/b"]),
        (config_key_problems, ["a", ".a", "a_b-c.D"], ["", ".", "..", "..a", "a/b", "a" * 254]),
        (env_name_problems, ["A", "a.b-c", "1", "a b"], ["", "a=b", "ä", "a\n"]),
        (port_name_problems, ["a", "http-2", "1a"], ["", "1", "-a", "a-", "a--b", "A", "a" * 16]),
        (path_segment_problems, ["a", "a.b", "..."], [".", "..", "a/b", "a%b"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_good_names_pass_and_bad_ones_do_not(judge: Judge, good: list[str], bad: list[str]) -> None:
    assert [name for name in good if judge(name)] == []
    assert [name for name in bad if not judge(name)] == []


@pytest.mark.parametrize(
    ("problems", "texts"),
    [
        (
            dns_subdomain_problems("A"),
            [
                (
                    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
                    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                )
            ],
        ),
        (
            dns_label_problems("A"),
            [
                (
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
                    "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
                    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                )
            ],
        ),
        (
            label_value_problems("-"),
            [
                (
                    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
                    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
                    "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                )
            ],
        ),
        (dns_label_problems("a" * 64), ["must be no more than 63 bytes"]),
        (path_segment_problems(".."), ["may not be '..'"]),
        (path_segment_problems("a/b"), ["may not contain '/'"]),
    ],
)
def test_complaints_have_kubernetes_words(problems: list[str], texts: list[str]) -> None:
    assert problems == texts
