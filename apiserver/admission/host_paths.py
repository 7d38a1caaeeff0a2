"""Where pods may reach into the files of their node: in namespaces that an administrator has given to the privileged.

The level is Pod Security's, and so are the label and the words of the refusal. In this one thing a namespace without the
label is not `privileged`: nodes are other people's machines, and what lies on them is theirs until somebody says otherwise.
"""

from __future__ import annotations

from typing import Final

from .attributes import Attributes, Lookup
from .complaints import refused
from .pod_security.levels import ENFORCE, LEVELS, PREFIX
from .podspecs import written_spec

LEVEL_LABEL: Final = PREFIX + ENFORCE
PRIVILEGED: Final = LEVELS[0]


async def host_paths(attributes: Attributes, lookup: Lookup) -> None:
    """A validating plugin. Raises Forbidden; volumes of a pod never change, so only its creation is judged."""
    found = written_spec(attributes)
    if found is None or attributes.operation != "CREATE":
        return
    named = [f'"{each["name"]}"' for each in found.spec.get("volumes") or () if each.get("hostPath") is not None]
    if not named:
        return
    namespace = await lookup.get("", "namespaces", "", attributes.namespace)
    labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
    if labels.get(LEVEL_LABEL) == PRIVILEGED:
        return
    noun = "volume" if len(named) == 1 else "volumes"
    raise refused(
        attributes,
        f'violates PodSecurity "baseline:latest": hostPath volumes ({noun} {", ".join(named)}); '
        f"an administrator allows them by the namespace's label {LEVEL_LABEL}={PRIVILEGED}",
    )
