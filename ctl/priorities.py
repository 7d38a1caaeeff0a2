"""A pod's priority by number: the API takes the name of a PriorityClass, so the class of that number is found or made."""

from __future__ import annotations

import argparse

from .errors import CommandError, ServerError
from .options import Session
from .paging import every

PRIORITY_MAX = 1_000
USUAL = "priority-100"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


def priority(text: str) -> int:
    """A whole number from 0 to 1000, for argparse."""
    if not text.isdigit() or int(text) > PRIORITY_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {PRIORITY_MAX}")
    return int(text)


def usual_class(session: Session) -> str | None:
    """The class of pods that are made by hand, which every cluster has at first; None where it was taken away."""
    try:
        session.api.get(f"{CLASSES}/{USUAL}")
    except ServerError as error:
        if error.reason not in ("NotFound", "Forbidden"):
            raise
        return None
    return USUAL


def class_of(session: Session, value: int) -> str:
    """The name of a class of this value, made when there is none. Raises CommandError naming the values there are."""
    found = list(every(session, CLASSES))
    for each in found:
        if each.get("value", 0) == value:
            return str(each["metadata"]["name"])
    name = f"priority-{value}"
    body = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": "Made by starkctl for pods that were given this number.",
    }
    try:
        session.api.request("POST", CLASSES, body=body)
    except ServerError as error:
        if error.reason == "AlreadyExists":
            return name
        if error.reason != "Forbidden":
            raise
        known = ", ".join(str(value) for value in sorted({each.get("value", 0) for each in found}))
        raise CommandError(
            f"no PriorityClass has the value {value}, and you may not make one; there are the values {known}"
        ) from error
    return name
