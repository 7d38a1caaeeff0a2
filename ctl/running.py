"""What `pod create` and `deployment create` make of a pack and a few options: a pod's spec, and its labels.

The numbers are the original command line's: 100 thousandths of a core and 128 MiB asked for, at most 500 and 512, more
only when more is asked for.
"""

from __future__ import annotations

import argparse
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from stark.crds.images import PACK_HOST, ImageError, parse_image
from stark.crds.packpods import CPU_MILLICORES, MEMORY_MIB, NAME_LENGTH_MAX, SUFFIX_LENGTH, label_of, resources

from .errors import UsageError

REPLICAS_MAX = 1_000
"""Of one command: above it a slip of the finger is likelier than a wish."""
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def add_pack_options(parser: argparse.ArgumentParser) -> None:
    """Which pack, which version, where, and how much of a machine."""
    parser.add_argument("--pack", metavar="PACK", help="the pack to run")
    parser.add_argument("-V", "--ver", metavar="VERSION", help="its version (default: the latest release)")
    parser.add_argument(
        "-s",
        "--node-selector",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="only nodes with this label; may be repeated",
    )
    parser.add_argument(
        "-t",
        "--toleration",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY[=VALUE][:EFFECT]",
        help="put up with this taint: KEY=VALUE:EFFECT, KEY:EFFECT or KEY; may be repeated",
    )
    parser.add_argument(
        "--cpu", type=positive, metavar="MILLICORES", help=f"thousandths of a core it needs (default {CPU_MILLICORES})"
    )
    parser.add_argument("--memory", type=positive, metavar="MIB", help=f"MiB of memory it needs (default {MEMORY_MIB})")


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def count(text: str) -> int:
    """A number of pods, for argparse."""
    if not text.isdigit() or int(text) > REPLICAS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {REPLICAS_MAX}")
    return int(text)


def pack_of(words: Sequence[str], option: str | None) -> str:
    """The pack that was named, once, in either way. Raises UsageError."""
    named = [*words, *([option] if option else [])]
    if len(named) > 1 and len(set(named)) > 1:
        raise UsageError(
            f"name one pack, not {' and '.join(named)}; options such as -s take every word that follows them"
        )
    if not named:
        raise UsageError("say which pack to run: --pack NAME; `starkctl pack list` shows them")
    return named[0]


def image_of(pack: str, version: str | None) -> str:
    """The image that names the pack; without a version the server chooses the latest release. Raises UsageError."""
    image = f"{PACK_HOST}/{pack}" + (f":{version}" if version else "")
    try:
        parse_image(image)
    except ImageError as error:
        raise UsageError(str(error).partition(f"{PACK_HOST}/")[2] or str(error)) from error
    return image


def pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """KEY=VALUE words as a mapping; a value may have `=` in it. Raises UsageError."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{option}: {word!r} is not KEY=VALUE")
        found[key] = value
    return found


def toleration(text: str) -> dict[str, str]:
    """`k=v:effect` tolerates that value, `k:effect` any value, `k` any value and effect. Raises UsageError."""
    head, colon, effect = text.rpartition(":") if ":" in text else (text, "", "")
    if colon and effect not in EFFECTS:
        raise UsageError(f"--toleration: {text!r} has no effect {effect!r}: choose one of {', '.join(EFFECTS)}")
    key, equals, value = head.partition("=")
    if not key:
        raise UsageError(f"--toleration: {text!r} names no taint: write KEY=VALUE:EFFECT, KEY:EFFECT or KEY")
    found = {"key": key, "operator": "Equal", "value": value} if equals else {"key": key, "operator": "Exists"}
    return {**found, "effect": effect} if effect else found


def pod_spec(args: argparse.Namespace, pack: str) -> dict[str, Any]:
    """The spec of a pod that runs the pack as the options say. Raises UsageError."""
    spec: dict[str, Any] = {
        "containers": [
            {"name": label_of(pack), "image": image_of(pack, args.ver), "resources": resources(args.cpu, args.memory)}
        ]
    }
    if args.node_selector:
        spec["nodeSelector"] = pairs(args.node_selector, "--node-selector")
    if args.toleration:
        spec["tolerations"] = [toleration(text) for text in args.toleration]
    return spec


def generated_name(pack: str) -> str:
    """`<pack>-<suffix>`: a name for what nobody has named."""
    return f"{label_of(pack)}-{''.join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))}"


def checked_name(name: str) -> str:
    """The name, or UsageError with the rule."""
    if len(name) > NAME_LENGTH_MAX or not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a name: at most {NAME_LENGTH_MAX} small letters, digits and '-', beginning and ending "
            "with a letter or digit"
        )
    return name
