"""Admission and PackTrustPolicies: which pods and workloads may name which packs, and what is wrong with a policy."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.pack_trust import AUDIT_KEY, PackTrust
from stark.apiserver.admission.validate_pack_trust import pack_trust_causes, signature_causes
from stark.apiserver.errors import Forbidden
from stark.crds.signing import sign
from tests.support.server_side import ALICE, Objects, resource
from tests.support.signed_packs import CI, OPS, pack, pem, policy

SIGNED, UNSIGNED, LATER = "pack.stark/signed:1.0.0", "pack.stark/hello:1.0.0", "pack.stark/later:1.0.0"
POD, DEPLOYMENT, CRONJOB = ("", "pods"), ("apps", "deployments"), ("batch", "cronjobs")


class Policies:
    """The policies among the objects, as caches have them."""

    def __init__(self, objects: Objects) -> None:
        self._found = [obj for key, obj in objects.stored.items() if key[1] == "packtrustpolicies"]

    def mark(self) -> int:
        return 1

    def is_empty(self) -> bool:
        return not self._found

    async def objects(self) -> list[Mapping[str, Any]]:
        return self._found

    async def current(self) -> None:
        """They always are."""


@pytest.fixture
def objects() -> Objects:
    objects = Objects()
    for name, labels in (("prod", {"env": "prod"}), ("test", {})):
        objects.add("", "namespaces", {"metadata": {"name": name, "labels": labels}})
    bare = pack(name="signed")
    good = {**bare, "signatures": [sign(OPS, bare)]}
    for spec in (pack(), good):
        objects.add("stark.dev", "packs", {"metadata": {"name": f"{spec['name']}.1.0.0"}, "spec": spec})
    selector = {"matchLabels": {"env": "prod"}}
    objects.add("stark.dev", "packtrustpolicies", policy(OPS, namespaceSelector=selector))
    return objects


def holding(kind: tuple[str, str], *images: str) -> dict[str, Any]:
    spec = {"containers": [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]}
    if kind == POD:
        return {"metadata": {"name": "web"}, "spec": spec}
    if kind == CRONJOB:
        return {"metadata": {"name": "web"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}
    return {"metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}}


async def judge(
    objects: Objects,
    kind: tuple[str, str],
    *images: str,
    namespace: str = "prod",
    before: tuple[str, ...] = (),
    subresource: str = "",
) -> Attributes:
    attributes = Attributes(
        operation="UPDATE" if before else "CREATE",
        resource=resource(*kind),
        subresource=subresource,
        namespace=namespace,
        name="web",
        object=holding(kind, *images),
        old=holding(kind, *before) if before else None,
        user=ALICE,
    )
    await PackTrust(Policies(objects))(attributes, objects)
    return attributes


@pytest.mark.parametrize("kind", [POD, DEPLOYMENT, CRONJOB])
@pytest.mark.parametrize(
    ("images", "refused"),
    [
        pytest.param((SIGNED,), "", id="a signed pack"),
        pytest.param((UNSIGNED,), "0 of 1 needed signatures by key0", id="an unsigned one"),
        pytest.param((SIGNED, UNSIGNED), 'pack "hello" version 1.0.0', id="one of each"),
        pytest.param((LATER,), "it is not registered, so nobody has signed it", id="one that is not there"),
        pytest.param(("nginx:1",), "", id="an image that is no pack"),
    ],
)
async def test_only_trusted_packs_get_in(
    objects: Objects, kind: tuple[str, str], images: tuple[str, ...], refused: str
) -> None:
    if not refused:
        assert (await judge(objects, kind, *images)).warnings == []
        return
    with pytest.raises(Forbidden) as caught:
        await judge(objects, kind, *images)
    assert refused in caught.value.message
    assert 'is not trusted in namespace "prod" by PackTrustPolicy "release"' in caught.value.message


async def test_a_policy_leaves_alone_other_namespaces_what_is_there_and_subresources(objects: Objects) -> None:
    await judge(objects, POD, UNSIGNED, namespace="test")
    await judge(objects, DEPLOYMENT, UNSIGNED, before=(UNSIGNED,))
    await judge(objects, DEPLOYMENT, UNSIGNED, subresource="scale")
    with pytest.raises(Forbidden):
        await judge(objects, DEPLOYMENT, UNSIGNED, before=(SIGNED,))


async def test_a_policy_that_warns_lets_in_and_says_so(objects: Objects) -> None:
    objects.stored.pop(("stark.dev", "packtrustpolicies", "", "release"))
    objects.add("stark.dev", "packtrustpolicies", policy(CI, action="Warn"))
    admitted = await judge(objects, POD, SIGNED)
    assert "0 of 1 needed signatures by key0 (1 signatures there are)" in admitted.warnings[0]
    assert admitted.audit[AUDIT_KEY] == admitted.warnings[0]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param({"threshold": 0}, "spec.threshold", id="no signature needed"),
        pytest.param({"threshold": 3}, "spec.threshold", id="more signatures than keys"),
        pytest.param({"packs": ["a?"]}, "spec.packs[0]", id="a pattern nobody reads"),
        pytest.param(
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "spec.namespaceSelector",
            id="a selector without values",
        ),
        pytest.param({"keys": [{"name": "a", "publicKey": "x"}]}, "spec.keys[0].publicKey", id="no key"),
        pytest.param(
            {"keys": [{"name": name, "publicKey": pem(OPS)} for name in "ab"]},
            "spec.keys[1].publicKey",
            id="a key under two names",
        ),
    ],
)
def test_what_is_wrong_with_a_policy(changes: dict[str, Any], field: str) -> None:
    causes = list(pack_trust_causes(policy(OPS, CI, **changes)))
    assert [cause.field for cause in causes] == ([field] if field else [])


def test_a_signature_looks_like_one() -> None:
    good = pack(OPS)["signatures"]
    assert list(signature_causes(good)) == []
    bad = [
        {**copy.deepcopy(good[0]), **change} for change in ({"keyID": "x"}, {"signature": "AAAA"}, {"signature": "%"})
    ]
    assert [cause.field for cause in signature_causes(bad)] == [
        "spec.signatures[0].keyID",
        "spec.signatures[1].signature",
        "spec.signatures[2].signature",
    ]
