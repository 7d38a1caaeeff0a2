"""The program's flags about where bundles are kept. Keys have none: a flag would show them to every user of the machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..settings import BlobPlace
from .places import check_place


def add_blob_flags(parser: argparse.ArgumentParser) -> None:
    """Flags about folder or bucket."""
    blobs = parser.add_argument_group(
        "where bundles are kept",
        "Keys for a bucket come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE and its files, a web identity,"
        " or the machine's role.",
    )
    blobs.add_argument(
        "--blobs", default="", metavar="FOLDER|s3://BUCKET/PREFIX", help="default DATA_DIR/blobs; see docs/packs.md"
    )
    blobs.add_argument(
        "--s3-endpoint", default="", metavar="URL", help="the object storage; default $AWS_ENDPOINT_URL, or Amazon's"
    )
    blobs.add_argument("--s3-region", default="", metavar="NAME", help="default $AWS_REGION, or us-east-1")
    blobs.add_argument("--s3-ca-file", type=Path, metavar="FILE", help="who signs the storage's certificate")
    blobs.add_argument(
        "--s3-download-endpoint", default="", metavar="URL", help="the storage as nodes reach it (default: as we do)"
    )
    blobs.add_argument(
        "--no-s3-direct-downloads",
        action="store_true",
        help="send bundles through the server, also to clients that could fetch them from the storage",
    )


def blob_place(parsed: argparse.Namespace) -> BlobPlace:
    """What the flags say. Raises ValueError."""
    place = BlobPlace(
        where=parsed.blobs,
        endpoint=parsed.s3_endpoint,
        region=parsed.s3_region,
        ca_file=parsed.s3_ca_file,
        download_endpoint=parsed.s3_download_endpoint,
        direct_downloads=not parsed.no_s3_direct_downloads,
    )
    try:
        check_place(place)
    except OSError as error:
        raise ValueError(f"--s3-ca-file {parsed.s3_ca_file}: {error.strerror}") from error
    return place
