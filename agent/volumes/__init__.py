"""Volumes of pods: what is in them, how it comes to the disk and stays current, and where containers find it."""

from .keeper import FAILED_MOUNT, FailedMount, VolumeKeeper, owner_of
from .mounting import container_mounts
from .payload import Found, VolumeError

__all__ = ["FAILED_MOUNT", "FailedMount", "Found", "VolumeError", "VolumeKeeper", "container_mounts", "owner_of"]
