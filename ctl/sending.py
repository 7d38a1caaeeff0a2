"""Send a bundle to the server, and go on where the last try ended: in parts, each of which the server keeps."""

from __future__ import annotations

import os
import time

from .errors import CommandError, ServerError, Unreachable
from .options import Session
from .progress import Progress

PART_BYTES = 16 << 20
"""What a cut connection costs at most is sent again; what is smaller is sent in one piece."""
TRIES, WAIT_S = 6, 1.0
"""Tries without any progress before we give up, and the wait after the first, which doubles."""


def send(session: Session, path: str, file: str, size: int) -> None:
    """Upload a file to a `bundles/SHA256` path. Raises ServerError, and Unreachable after several tries."""
    with open(file, "rb") as source, Progress(f"uploading {os.path.basename(file)}", size) as progress:
        if size <= PART_BYTES:
            session.api.upload(path, source, size, progress.reached)
            return
        have, failed = 0, 0
        while have < size:
            try:
                known = session.api.uploaded(path, size)
                failed = 0 if known > have else failed
                have = known
                while have < size:
                    end = min(have + PART_BYTES, size)
                    begun = have
                    have = session.api.upload_part(path, source, (have, end, size), progress.reached)
                    if have <= begun:
                        raise CommandError("the server does not keep what it is sent: see its log")
                    failed = 0
            except (Unreachable, ServerError) as error:
                failed += 1
                if failed >= TRIES or not _may_pass(error):
                    raise
                time.sleep(WAIT_S * 2 ** (failed - 1))


def _may_pass(error: Unreachable | ServerError) -> bool:
    """Whether it is worth to try again: nobody answered, or the server has trouble, or another try is not over yet."""
    return isinstance(error, Unreachable) or error.code >= 500 or error.reason == "Conflict"
