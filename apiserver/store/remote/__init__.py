"""A store that another process of this machine has: one process keeps it, several use it over a Unix socket."""

from .client import RemoteStore, open_remote
from .link import LinkLost, Switchboard
from .serving import StoreService
from .settings import RemoteSettings
from .shared import SharedRevision

__all__ = ["LinkLost", "RemoteSettings", "RemoteStore", "SharedRevision", "StoreService", "Switchboard", "open_remote"]
