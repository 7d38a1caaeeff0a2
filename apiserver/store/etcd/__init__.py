"""The store in an etcd cluster (3.4 or later), for control planes of more than one machine."""

from .settings import EtcdSettings
from .store import EtcdStore, open_etcd
from .trouble import EtcdUnusable

__all__ = ["EtcdSettings", "EtcdStore", "EtcdUnusable", "open_etcd"]
