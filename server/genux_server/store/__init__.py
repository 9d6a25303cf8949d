"""The only room that speaks SQL: connections, tables, and the verbs on them."""

from genux_server.store.database import StorageError, Store

__all__ = ["StorageError", "Store"]
