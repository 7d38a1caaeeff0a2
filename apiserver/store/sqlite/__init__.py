"""The store in one directory, for a control plane on one machine: SQLite, one writer, group commit."""

from .datadir import DataDirLocked, DataDirUnusable
from .settings import SqliteSettings
from .store import SqliteStore, open_sqlite

__all__ = ["DataDirLocked", "DataDirUnusable", "SqliteSettings", "SqliteStore", "open_sqlite"]
