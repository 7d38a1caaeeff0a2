"""Where blobs lie and who we are there: what flags, environment and files of profiles mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from stark.apiserver.packs.credentials import NoCredentials, keys_of_profile, read_profile
from stark.apiserver.packs.places import check_place
from stark.apiserver.settings import BlobPlace

CONFIG = """
[default]
region = eu-north-1
[profile work]
region = eu-west-3
endpoint_url = https://s3.work.example.org
[profile person]
sso_session = company
[profile role]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = default
"""
CREDENTIALS = """
[default]
aws_access_key_id = ONE
aws_secret_access_key = one-is-secret
[work]
aws_access_key_id = TWO
aws_secret_access_key = two%is%secret
aws_session_token = session
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    (tmp_path / ".aws" / "credentials").write_text(CREDENTIALS)
    return {"HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({}, ("ONE", "one-is-secret", None, "eu-north-1", ""), id="the profile default"),
        pytest.param(
            {"AWS_PROFILE": "work", "AWS_WEB_IDENTITY_TOKEN_FILE": "/x"},
            ("TWO", "two%is%secret", "session", "eu-west-3", "https://s3.work.example.org"),
            id="the profile that is asked for",
        ),
        pytest.param({"AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "K"}, None, id="keys come first"),
        pytest.param({"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"}, None, id="a web identity before an unasked profile"),
        pytest.param({"HOME": "/nowhere"}, None, id="nothing: the machine's role"),
    ],
)
def test_who_we_are_is_found_as_other_tools_find_it(
    home: dict[str, str], environment: dict[str, str], expected: tuple[str, ...] | None
) -> None:
    found = read_profile({**home, **environment})
    told = found and (
        found.access_key_id, found.secret_access_key, found.session_token, found.region, found.endpoint_url
    )  # fmt: skip
    assert told == expected
    assert "secret" not in repr(found).replace("secret_access_key", "")


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("nobody", "there is no AWS profile 'nobody'"),
        ("person", "has sso_session: put keys into the environment"),
        ("role", "has role_arn: put keys into the environment"),
    ],
)
def test_a_profile_without_keys_says_what_to_do(home: dict[str, str], profile: str, said: str) -> None:
    with pytest.raises(NoCredentials, match=said):
        read_profile({**home, "AWS_PROFILE": profile})


def test_keys_in_a_file_may_change_under_a_running_server(home: dict[str, str]) -> None:
    keys = keys_of_profile(home)
    assert keys()["access_key_id"] == "ONE"
    file = Path(home["HOME"]) / ".aws" / "credentials"
    file.write_text(CREDENTIALS.replace("ONE", "NEW"))
    assert keys()["access_key_id"] == "NEW"
    file.write_text("[default\nsecret")
    with pytest.raises(NoCredentials, match="cannot be read") as caught:
        keys()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (BlobPlace("gs://bucket"), "use a folder or s3://BUCKET/PREFIX"),
        (BlobPlace("s3://"), "is no name of a bucket"),
        (BlobPlace("s3://Bucket/x"), "is no name of a bucket"),
        (BlobPlace("s3://bucket/a/../b"), "is no prefix of keys"),
        (BlobPlace("s3://bucket", "s3.example.org"), "must be a URL like"),
        (BlobPlace("s3://bucket", "https://user:pass@s3.example.org"), "must be a URL like"),
        (BlobPlace("s3://bucket", "https://s3.example.org:99999"), "must be a URL like"),
        (BlobPlace("s3://bucket", "https://[::1"), "must be a URL like"),
        (BlobPlace("/srv/blobs", "https://s3.example.org"), "is about a bucket"),
    ],
)
def test_a_mistake_in_the_place_is_found_at_the_start(place: BlobPlace, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_place(place, {"HOME": "/nowhere"})


@pytest.mark.parametrize("pem", ["nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_authorities_that_are_none_are_found_at_the_start(tmp_path: Path, pem: str) -> None:
    (tmp_path / "ca.pem").write_text(pem)
    place = BlobPlace("s3://bucket", "https://s3.example.org", ca_file=tmp_path / "ca.pem")
    with pytest.raises(ValueError, match="certificates"):
        check_place(place, {"HOME": "/nowhere"})


@pytest.mark.parametrize("where", ["", "/srv/blobs", "s3://bucket", "s3://bucket/", "s3://my.bucket-1/a/b/"])
def test_a_folder_or_a_bucket_is_a_place(where: str) -> None:
    check_place(BlobPlace(where), {"HOME": "/nowhere"})
