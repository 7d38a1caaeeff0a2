"""Images name packs, versions have an order, and every version has one object name."""

from __future__ import annotations

import random

import pytest

from stark.crds.images import (
    OBJECT_NAME_LENGTH_MAX,
    ImageError,
    PackRef,
    is_pack,
    is_prerelease,
    latest_version,
    pack_object_name,
    parse_image,
    version_key,
)
from stark.crds.names import dns_subdomain_problems


@pytest.mark.parametrize(
    ("image", "pack"),
    [
        ("pack.stark/hello", PackRef("hello")),
        ("pack.stark/hello:1.2.0", PackRef("hello", "1.2.0")),
        ("pack.stark/My_Pack-1:1.0.0-rc.1+build.5", PackRef("My_Pack-1", "1.0.0-rc.1+build.5")),
        ("nginx", None),
        ("nginx:1.27", None),
        ("registry.example.com:5000/pack.stark/x", None),
        ("pack.stark", None),
        ("pack.starkness/x", None),
    ],
)
def test_an_image_is_a_pack_or_a_container_image(image: str, pack: PackRef | None) -> None:
    assert parse_image(image) == pack
    assert is_pack(image) is (pack is not None)
    if pack is not None:
        assert str(pack) == image


@pytest.mark.parametrize(
    "image",
    [
        "pack.stark/",
        "pack.stark/1a",
        "pack.stark/a/b",
        "pack.stark/a:",
        "pack.stark/a:latest",
        "pack.stark/a:1.2",
        "pack.stark/a:01.2.3",
        "pack.stark/a@sha256:00",
        "pack.stark/" + "a" * 65,
        "pack.stark/a:1.0.0-" + "a" * 256,
        "pack.stark/a:1.0.0\n",
    ],
)
def test_a_misspelled_pack_is_no_container_image(image: str) -> None:
    with pytest.raises(ImageError):
        parse_image(image)


SEMVER_ORDER = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]


def test_versions_are_ordered_as_semantic_versioning_says() -> None:
    shuffled = SEMVER_ORDER.copy()
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=version_key) == SEMVER_ORDER


@pytest.mark.parametrize(
    ("versions", "latest"),
    [
        ([], None),
        (["1.0.0", "1.2.0", "1.1.9"], "1.2.0"),
        (["1.10.0", "1.9.0"], "1.10.0"),
        (["1.0.0", "2.0.0-rc.1"], "1.0.0"),
        (["2.0.0-rc.1", "2.0.0-rc.2"], "2.0.0-rc.2"),
        (["1.0.0+a", "1.0.0+b"], "1.0.0+b"),
        (["nonsense", "0.1.0"], "0.1.0"),
    ],
)
def test_the_latest_version_is_the_highest_release(versions: list[str], latest: str | None) -> None:
    assert latest_version(versions) == latest


def test_a_prerelease_is_known_and_nonsense_refused() -> None:
    assert is_prerelease("1.0.0-rc.1")
    assert not is_prerelease("1.0.0+rc.1")
    with pytest.raises(ImageError):
        version_key("1")


@pytest.mark.parametrize(
    ("name", "version", "kept"),
    [
        ("hello", "1.2.0", True),
        ("hello", "1.2.0-rc.1", True),
        ("Hello", "1.2.0", False),
        ("my_pack", "1.2.0", False),
        ("hello", "1.2.0+b", False),
        ("a-", "1.0.0--.-", False),
        ("a" * 64, "1.0.0-" + "b" * 250, False),
    ],
)
def test_an_object_name_keeps_the_spelling_or_carries_a_hash(name: str, version: str, kept: bool) -> None:
    made = pack_object_name(name, version)
    assert (made == f"{name}.{version}") is kept
    assert dns_subdomain_problems(made) == []
    assert len(made) <= OBJECT_NAME_LENGTH_MAX


def test_different_versions_never_share_an_object_name() -> None:
    names = {pack_object_name(name, "1.0.0") for name in ("pack", "Pack", "PACK", "p_ck", "p-ck")}
    assert len(names) == 5
    assert pack_object_name("Pack", "1.0.0").startswith("pack.1.0.0-")
