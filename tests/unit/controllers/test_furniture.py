"""What every active namespace is given, and kept."""

from __future__ import annotations

import pytest

from stark.controllers.root_ca import plan
from stark.controllers.service_account_tokens import verdict
from stark.controllers.service_accounts import missing_account
from stark.crds.config import ConfigMap, Secret, ServiceAccount
from stark.crds.meta import ObjectMeta
from stark.crds.namespaces import Namespace, NamespaceStatus
from tests.support.workloads import NOW

ACTIVE = Namespace(metadata=ObjectMeta(name="a"), status=NamespaceStatus(phase="Active"))
DELETED = Namespace(metadata=ObjectMeta(name="a", deletion_timestamp=NOW))
TERMINATING = Namespace(metadata=ObjectMeta(name="a"), status=NamespaceStatus(phase="Terminating"))
NO_NAMESPACE = [None, DELETED, TERMINATING]


def published(data: dict[str, str], *, immutable: bool = False, deleted: bool = False) -> ConfigMap:
    meta = ObjectMeta(
        name="kube-root-ca.crt",
        namespace="a",
        uid="u",
        resource_version="5",
        annotations={"kubernetes.io/description": "ours", "who": "me"},
        deletion_timestamp=NOW if deleted else None,
    )
    return ConfigMap(metadata=meta, data=data, immutable=immutable)


def test_a_missing_account_is_made_and_one_that_is_there_is_left() -> None:
    made = missing_account(ACTIVE, None)
    assert made is not None
    assert made.key == "a/default"
    assert missing_account(ACTIVE, ServiceAccount(metadata=ObjectMeta(name="default", namespace="a"))) is None


@pytest.mark.parametrize("namespace", NO_NAMESPACE, ids=["gone", "deleted", "terminating"])
def test_nothing_is_put_into_a_namespace_on_its_way_out(namespace: Namespace | None) -> None:
    assert missing_account(namespace, None) is None
    assert plan(namespace, None, "PEM") is None
    assert plan(namespace, published({"ca.crt": "old"}), "PEM") is None


@pytest.mark.parametrize(
    ("found", "act"),
    [
        pytest.param(None, "create", id="missing"),
        pytest.param(published({"ca.crt": "PEM"}), None, id="as it should be"),
        pytest.param(published({"ca.crt": "other"}), "update", id="another authority"),
        pytest.param(published({"ca.crt": "PEM", "more": "x"}), "update", id="something added"),
        pytest.param(published({}, immutable=True), "delete", id="immutable and wrong"),
        pytest.param(published({"ca.crt": "PEM"}, immutable=True), None, id="immutable and right"),
        pytest.param(published({}, deleted=True), None, id="going: it is made again when it is gone"),
    ],
)
def test_the_published_authority_is_put_right(found: ConfigMap | None, act: str | None) -> None:
    step = plan(ACTIVE, found, "PEM")
    assert (step and step.act) == act
    if step is not None and act != "delete":
        assert step.config_map.data == {"ca.crt": "PEM"}
        assert step.config_map.key == "a/kube-root-ca.crt"


def test_an_update_is_of_the_version_that_was_read_and_keeps_what_others_wrote() -> None:
    step = plan(ACTIVE, published({}), "PEM")
    assert step is not None
    meta = step.config_map.metadata
    assert (meta.resource_version, meta.annotations) == ("5", {"kubernetes.io/description": "ours", "who": "me"})


OWNER = "kubernetes.io/service-account.uid"
FULL = {"token": "dA=="}


@pytest.mark.parametrize(
    ("uid", "data", "account", "expected"),
    [
        pytest.param("u1", FULL, "u1", "leave", id="full"),
        pytest.param("u1", {}, "u1", "fill", id="empty"),
        pytest.param("", FULL, "u1", "fill", id="of an account whose uid is not written down"),
        pytest.param("u1", FULL, None, "delete", id="of an account that is gone"),
        pytest.param("", {}, None, "delete", id="of an account that never was"),
        pytest.param("u1", FULL, "u2", "delete", id="of an account that was made anew"),
    ],
)
def test_a_token_in_a_secret_goes_with_its_account(
    uid: str, data: dict[str, str], account: str | None, expected: str
) -> None:
    meta = ObjectMeta(name="kept", namespace="a", uid="s", annotations={OWNER: uid} if uid else {})
    secret = Secret(metadata=meta, type="kubernetes.io/service-account-token", data=data)
    named = ServiceAccount(metadata=ObjectMeta(name="robot", namespace="a", uid=account)) if account else None
    assert verdict(secret, named) == expected
    assert verdict(secret.model_copy(update={"type": "Opaque"}), named) == "leave"
    going = meta.model_copy(update={"deletion_timestamp": NOW})
    assert verdict(secret.model_copy(update={"metadata": going}), named) == "leave"
