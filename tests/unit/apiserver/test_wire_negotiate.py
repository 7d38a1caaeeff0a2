"""Accept headers of real clients, and what they get."""

from __future__ import annotations

import pytest

from stark.apiserver.errors import NotAcceptable
from stark.apiserver.wire.negotiate import JSON, PLAIN, YAML, Accepted, Form, negotiate

KUBECTL = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

CASES = [
    pytest.param("", Accepted(), id="nothing means JSON"),
    pytest.param("*/*", Accepted(), id="anything means JSON"),
    pytest.param("application/json, */*", Accepted(), id="the generic Go client"),
    pytest.param("application/vnd.kubernetes.protobuf,application/json", Accepted(), id="the typed Go client"),
    pytest.param(KUBECTL, Accepted(Form.TABLE, "v1"), id="kubectl get"),
    pytest.param(
        "application/json;as=Table;v=v1beta1;g=meta.k8s.io", Accepted(Form.TABLE, "v1beta1"), id="old kubectl"
    ),
    pytest.param("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Accepted(), id="a version to come"),
    pytest.param(PARTIAL, Accepted(Form.PARTIAL_LIST, "v1"), id="a metadata informer"),
    pytest.param("application/yaml", Accepted(media_type=YAML), id="YAML"),
    pytest.param("application/json;q=0.5, application/yaml;q=0.9", Accepted(media_type=YAML), id="weights"),
    pytest.param("application/yaml;q=0, application/json", Accepted(), id="a weight of zero forbids"),
    pytest.param("text/html,application/xhtml+xml,*/*;q=0.8", Accepted(), id="a browser"),
    pytest.param('application/json; charset="utf-8"', Accepted(), id="a charset"),
]


@pytest.mark.parametrize(("accept", "expected"), CASES)
def test_the_first_form_that_can_be_given_is_given(accept: str, expected: Accepted) -> None:
    assert negotiate(accept) == expected


@pytest.mark.parametrize(
    "accept", ["application/vnd.kubernetes.protobuf", "text/html", "application/json;as=Foo;v=v1;g=x"]
)
def test_nothing_that_fits_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="only the following media types are accepted: application/json"):
        negotiate(accept)


def test_a_request_that_has_no_table_falls_back_on_the_object() -> None:
    assert negotiate(KUBECTL, PLAIN) == Accepted(Form.OBJECT, "v1", JSON)


def test_yaml_is_not_offered_where_it_makes_no_sense() -> None:
    with pytest.raises(NotAcceptable):
        negotiate("application/yaml", yaml=False)
