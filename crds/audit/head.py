"""What vouches for the end of the audit log: without it, lines cut off at the end would not be missed.

The file `head` has two slots, written in turn, so that a crash leaves at least one whole. Each says how far the log is
known to be on disk, and carries the last signed statement: log, oldest file that is kept, and a place in the chain. The
place commits to every line before it, the oldest file to those that retention has not deleted.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .chain import Link

HEAD_NAME: Final = "head"
SLOT_BYTES: Final = 1024
SLOTS: Final = 2


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed."""

    log: str
    """The id of the log: a statement about one says nothing about another."""
    oldest: int
    """Number of the oldest file that is kept."""
    link: Link
    public_key: bytes
    """The Ed25519 key in raw form (RFC 8032)."""
    signature: bytes = b""

    @property
    def message(self) -> bytes:
        """The signed bytes."""
        return b"stark audit log\n%b\n%d\n%b\n" % (self.log.encode(), self.oldest, str(self.link).encode())

    def is_genuine(self, public_key: bytes) -> bool:
        """Whether the holder of that key has signed it."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(self.signature, self.message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_wire(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "log": self.log,
            "oldest": self.oldest,
            "seq": self.link.seq,
            "hash": self.link.digest.hex(),
            "publicKey": base64.b64encode(self.public_key).decode(),
            "signature": base64.b64encode(self.signature).decode(),
        }


def statement_of(wire: Any) -> Statement | None:
    """The statement in a JSON value; None when there is none."""
    try:
        return Statement(
            str(wire["log"]),
            int(wire["oldest"]),
            Link(int(wire["seq"]), bytes.fromhex(wire["hash"])),
            base64.b64decode(wire["publicKey"], validate=True),
            base64.b64decode(wire["signature"], validate=True),
        )
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


@dataclass(frozen=True, slots=True)
class Head:
    """How far the log is known to be on disk."""

    file: int
    offset: int
    """Bytes of that file."""
    link: Link
    signed: Statement

    def slot(self) -> bytes:
        """As a slot of the file."""
        wire = {
            "file": self.file,
            "offset": self.offset,
            "seq": self.link.seq,
            "hash": self.link.digest.hex(),
            "signed": self.signed.to_wire(),
        }
        text = json.dumps(wire, separators=(",", ":")).encode()
        assert len(text) < SLOT_BYTES, len(text)
        return text.ljust(SLOT_BYTES - 1) + b"\n"


def read_head(directory: Path) -> Head | None:
    """The newest whole slot; None without one. Raises OSError."""
    try:
        with (directory / HEAD_NAME).open("rb") as file:
            raw = file.read(SLOT_BYTES * SLOTS)
    except FileNotFoundError:
        return None
    slots = [head_of(raw[at : at + SLOT_BYTES]) for at in range(0, len(raw), SLOT_BYTES)]
    return max((slot for slot in slots if slot is not None), key=lambda slot: slot.link.seq, default=None)


def head_of(slot: bytes) -> Head | None:
    """The head in one slot; None when it is torn."""
    try:
        wire = json.loads(slot)
        link = Link(int(wire["seq"]), bytes.fromhex(wire["hash"]))
        signed = statement_of(wire["signed"])
        return Head(int(wire["file"]), int(wire["offset"]), link, signed) if signed is not None else None
    except (KeyError, TypeError, ValueError):
        return None
