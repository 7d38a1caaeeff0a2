"""Changes to objects: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch, and how `apply` makes one.

The door to `json_patches` and `strategic`. Free of pydantic; works on JSON-like values, never changes its arguments.
"""

from .json_patches import (
    PatchError,
    PatchMalformed,
    PatchTestFailed,
    PatchTooLarge,
    create_merge_patch,
    json_patch,
    merge_patch,
)
from .strategic import MERGE_SCALARS, RETAIN_KEYS, MergeKeys, strategic_merge_patch, three_way_merge

__all__ = [
    "MERGE_SCALARS",
    "RETAIN_KEYS",
    "MergeKeys",
    "PatchError",
    "PatchMalformed",
    "PatchTestFailed",
    "PatchTooLarge",
    "create_merge_patch",
    "json_patch",
    "merge_patch",
    "strategic_merge_patch",
    "three_way_merge",
]
