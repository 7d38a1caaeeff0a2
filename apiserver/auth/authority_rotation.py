"""Replace the authority without locking anybody out: `stark-apiserver ca begin|switch|finish|abort|status`.

Three steps, and a restart of the API server after each. `begin` makes the successor, which is trusted from then on and
signs nothing; `switch` lets it sign; `finish` ends the trust in the predecessor. Between the steps whoever trusts the
authority has to hear of it: agents do by themselves, see docs/joining.md. Each step replaces one file in one go, so that a
crash leaves the state before it or after it.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from stark.crds.pins import pin_of

from .files import PUBLIC_FILE_MODE, locked, sync_directory, write_whole
from .pki import Authority, PkiError, new_authority

NEXT_KEY = "ca-next.key"
EXIT_OK, EXIT_ERROR = 0, 1


def begin(directory: Path, now: datetime) -> None:
    """Make the successor and trust it. Raises PkiError, OSError."""
    authority = Authority.open(directory)
    with locked(directory):
        if (directory / NEXT_KEY).exists():
            raise PkiError("a successor is there already: go on with `ca switch`, or give it up with `ca abort`")
        if len(authority.certificates) > 1:
            raise PkiError("the predecessor is still trusted: end that first with `ca finish`")
        fresh = new_authority(now)
        write_whole(directory / NEXT_KEY, fresh.key_pem)
        write_whole(directory / "ca.crt", authority.certificate_pem + fresh.certificate_pem, PUBLIC_FILE_MODE)


def switch(directory: Path) -> None:
    """Let the successor sign. Raises PkiError, OSError."""
    authority = Authority.open(directory)
    with locked(directory):
        path = directory / NEXT_KEY
        if not path.exists():
            raise PkiError("there is no successor: make one with `ca begin`")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if key.public_key() not in [each.public_key() for each in authority.certificates[1:]]:
            raise PkiError(f"{path} belongs to no certificate in ca.crt: give it up with `ca abort`")
        os.replace(path, directory / "ca.key")
        sync_directory(directory)


def finish(directory: Path) -> None:
    """Trust the authority that signs, and no other. Raises PkiError, OSError."""
    authority = Authority.open(directory)
    with locked(directory):
        if (directory / NEXT_KEY).exists():
            raise PkiError("the successor does not sign yet: `ca switch` comes first, or `ca abort`")
        write_whole(directory / "ca.crt", pem_of(authority.certificates[0]), PUBLIC_FILE_MODE)


def abort(directory: Path) -> None:
    """Give up a successor that does not sign yet. Raises PkiError, OSError."""
    authority = Authority.open(directory)
    with locked(directory):
        if not (directory / NEXT_KEY).exists():
            raise PkiError("there is no successor to give up")
        write_whole(directory / "ca.crt", pem_of(authority.certificates[0]), PUBLIC_FILE_MODE)
        (directory / NEXT_KEY).unlink()
        sync_directory(directory)


def pem_of(certificate: x509.Certificate) -> bytes:
    """In PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def status(directory: Path) -> list[str]:
    """A line for each authority that is trusted. Raises PkiError, OSError."""
    signing, *others = Authority.open(directory).certificates
    role = "coming, signs nothing yet" if (directory / NEXT_KEY).exists() else "going, still trusted"
    return [_line(signing, "signs"), *(_line(other, role) for other in others)]


def _line(certificate: x509.Certificate, role: str) -> str:
    return f"{pin_of(pem_of(certificate).decode())}  until {certificate.not_valid_after_utc:%Y-%m-%d}  {role}"


def add_ca_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `ca` command; parsed arguments carry `run`, a function of them to an exit code."""
    parser = commands.add_parser("ca", help="replace the cluster's authority, step by step")
    parser.add_argument("step", choices=("status", "begin", "switch", "finish", "abort"))
    parser.add_argument("--data-dir", type=Path, required=True, help="the API server's data directory")
    parser.set_defaults(run=run_ca_command)


def run_ca_command(arguments: argparse.Namespace) -> int:
    """Carry out one step and say how things are. Returns an exit code."""
    directory = arguments.data_dir / "pki"
    steps = {"switch": switch, "finish": finish, "abort": abort}
    try:
        if not (directory / "ca.crt").exists():
            raise PkiError(f"{directory} holds no authority: the API server makes it when it first starts")
        if arguments.step == "begin":
            begin(directory, datetime.now(UTC))
        elif arguments.step in steps:
            steps[arguments.step](directory)
        lines = status(directory)
    except (PkiError, OSError) as error:
        sys.stderr.write(f"stark-apiserver ca: {error}\n")
        return EXIT_ERROR
    if arguments.step != "status":
        lines.append("Restart the API server now.")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return EXIT_OK
