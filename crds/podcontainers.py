"""All containers of a pod spec, and what they ask for together: init containers run before the others, sidecars beside.

The sums are Kubernetes' (KEP-753): sidecars count with the containers; an init container that ends counts while it
runs, with the sidecars that were started before it, and the dearest of these moments is what must be there.
Over specs in wire form, free of pydantic; `every_container` is for both forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .quantity import parse_quantity, total

if TYPE_CHECKING:
    from .pods import Container, PodSpec

SIDECAR = "Always"
"""The restartPolicy that makes an init container a sidecar."""

C = TypeVar("C")


def every_container(spec: PodSpec) -> Iterator[Container]:
    """The containers of a pod in the order in which they start."""
    yield from spec.init_containers
    yield from spec.containers


def container_named(spec: PodSpec, name: str) -> Container | None:
    """The container or init container of that name; names are unique in a pod."""
    return next((container for container in every_container(spec) if container.name == name), None)


def is_sidecar(container: Container) -> bool:
    """Whether an init container goes on running beside the containers."""
    return container.restart_policy == SIDECAR


def lasting(spec: PodSpec) -> Iterator[Container]:
    """Those that run as long as the pod does: sidecars and containers."""
    yield from filter(is_sidecar, spec.init_containers)
    yield from spec.containers


def every_written(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`every_container` of a spec in wire form."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def lasting_written(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Those of a spec in wire form that run as long as the pod does: sidecars and containers."""
    yield from (one for one in spec.get("initContainers") or () if one.get("restartPolicy") == SIDECAR)
    yield from spec.get("containers") or ()


def together(
    initial: Iterable[tuple[C, bool]], containers: Iterable[C], plus: Callable[[C, C], C], least: C
) -> Iterator[C]:
    """The amounts that must be there at some moment, of which the highest decides: `initial` are (amount, is sidecar).

    The last is the sum of everything that lasts.
    """
    beside = least
    for amount, lasts in initial:
        yield plus(beside, amount)
        if lasts:
            beside = plus(beside, amount)
    for amount in containers:
        beside = plus(beside, amount)
    yield beside


def peak(initial: Sequence[tuple[int, bool]], containers: Iterable[int]) -> int:
    """The highest of the moments in whole units."""
    return max(together(initial, containers, int.__add__, 0))


def pod_amounts(spec: Mapping[str, Any], kind: str) -> dict[str, str]:
    """The pod's `requests` or `limits` as a whole, by resource, for a spec in wire form. Raises QuantityError."""
    initial = [(_given(one, kind), one.get("restartPolicy") == SIDECAR) for one in spec.get("initContainers") or ()]
    containers = [_given(one, kind) for one in spec.get("containers") or ()]
    names = {name for each in (*(given for given, _ in initial), *containers) for name in each}
    return {
        name: max(
            together(
                [(given.get(name, "0"), lasts) for given, lasts in initial],
                [given[name] for given in containers if name in given],
                lambda one, other: total((one, other)),
                "0",
            ),
            key=parse_quantity,
        )
        for name in names
    }


def _given(container: Mapping[str, Any], kind: str) -> Mapping[str, str]:
    amounts: Mapping[str, str] = (container.get("resources") or {}).get(kind) or {}
    return amounts
