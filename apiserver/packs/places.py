"""Where the blobs of a server lie, as its settings say: a folder, or a bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from ..settings import BlobPlace
from .blobs import SPOOL_FOLDER, BlobStore
from .credentials import keys_of_profile, read_profile
from .objects import Objects
from .partials import FolderPartials, Partials
from .segments import BucketPartials

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

S3: Final = "s3://"
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}", re.ASCII)
FOLDER: Final = "blobs"
"""The folder in the data directory."""
PARTIALS_FOLDER: Final = ".partial"
CONNECT_S, READ_S = timedelta(seconds=5), timedelta(seconds=30)
WHOLE_S: Final = timedelta(hours=1)
"""For one request with all its bytes: the largest bundle to a client that takes 150 kB/s."""
RETRIES_MAX, RETRYING_S = 3, timedelta(seconds=20)
"""How long a storage that fails over is asked again before a client is told so."""
ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
REGION: Final = "us-east-1"


def check_place(place: BlobPlace, environment: Mapping[str, str] = os.environ) -> None:
    """Find mistakes before anything is started. Raises ValueError with what to write instead, OSError."""
    if place.where.startswith(S3):
        _bucket_and_prefix(place.where)
        _s3_objects(place, environment)
    elif "://" in place.where:
        raise ValueError(f"--blobs {place.where}: use a folder or s3://BUCKET/PREFIX")
    elif place.endpoint or place.region or place.download_endpoint or place.ca_file is not None:
        raise ValueError("--s3-... is about a bucket, which --blobs s3://BUCKET/PREFIX names")


def open_place(place: BlobPlace, data_dir: Path) -> tuple[BlobStore, Partials]:
    """The blobs and the unfinished uploads of a server. Raises ValueError, OSError."""
    check_place(place)
    local = data_dir / FOLDER
    if place.where.startswith(S3):
        blobs = BlobStore(_s3_objects(place, os.environ), local / SPOOL_FOLDER)
        return blobs, BucketPartials(blobs)
    folder = Path(place.where).absolute() if place.where else local
    blobs = BlobStore.local(folder)
    return blobs, FolderPartials(blobs, folder / PARTIALS_FOLDER)


def _bucket_and_prefix(where: str) -> tuple[str, str]:
    bucket, _, prefix = where.removeprefix(S3).partition("/")
    if not BUCKET.fullmatch(bucket):
        raise ValueError(f"--blobs {where}: {bucket!r} is no name of a bucket: use s3://BUCKET/PREFIX")
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ValueError(f"--blobs {where}: {prefix!r} is no prefix of keys: use s3://BUCKET/PREFIX")
    return bucket, prefix


def _s3_objects(place: BlobPlace, environment: Mapping[str, str]) -> Objects:
    bucket, prefix = _bucket_and_prefix(place.where)
    profile = read_profile(environment)
    endpoint = place.endpoint or _first(environment, ENDPOINT_VARIABLES) or (profile.endpoint_url if profile else "")
    region = place.region or _first(environment, REGION_VARIABLES) or (profile.region if profile else "") or REGION
    authority = place.ca_file.read_bytes() if place.ca_file is not None else None

    def store(endpoint: str) -> S3Store:
        options: ClientConfig = {"connect_timeout": CONNECT_S, "read_timeout": READ_S, "timeout": WHOLE_S}
        config: S3Config = {"region": region}
        if endpoint:
            _check_endpoint(endpoint)
            config["aws_endpoint_url_s3"] = config["endpoint"] = endpoint.rstrip("/")
            options["allow_http"] = endpoint.startswith("http://")
        if authority is not None:
            options["root_certificate"] = authority
        retries: RetryConfig = {"max_retries": RETRIES_MAX, "retry_timeout": RETRYING_S}
        try:
            return S3Store(
                bucket,
                prefix=prefix or None,
                config=config,
                client_options=options,
                retry_config=retries,
                credential_provider=None if profile is None else keys_of_profile(environment),
            )
        except BaseError as error:
            said = str(error).partition("\n")[0]
            doubt = "are those certificates in --s3-ca-file? " if authority is not None else ""
            raise ValueError(f"--blobs {place.where}: the storage cannot be used: {doubt}{said}") from None

    own = store(endpoint)
    if not place.direct_downloads:
        return Objects(own)
    return Objects(own, signer=store(place.download_endpoint) if place.download_endpoint else own)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _check_endpoint(endpoint: str) -> None:
    wrong = f"the endpoint of the object storage must be a URL like https://s3.example.org, not {endpoint!r}"
    try:
        url = urlsplit(endpoint)
        is_good = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        raise ValueError(wrong) from None
    if not is_good or url.query or url.fragment or url.username:
        raise ValueError(wrong)
