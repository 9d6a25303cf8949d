"""The engine's own DuckDB, alive for one computation."""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from tempfile import TemporaryDirectory

import ibis
import ibis.expr.types as ir

__all__ = ["count_of", "duckdb_connection", "stored"]

_HALF_OF_THE_MEMORY = "50%"
"""Of the machine's, or the container's. DuckDB would take four fifths, and the service runs beside it."""

_numbers = count()


@contextmanager
def duckdb_connection(memory_limit: str = _HALF_OF_THE_MEMORY) -> Generator[ibis.BaseBackend]:
    """A DuckDB of its own, with UTC as its time zone; what does not fit in memory spills to a temporary folder.

    Args:
        memory_limit: what it may hold in memory, as DuckDB writes it: `2GB`, or a share of what the machine has.
    """
    with TemporaryDirectory(prefix="genux-") as folder:
        connection = ibis.duckdb.connect(temp_directory=folder, memory_limit=memory_limit)
        try:
            yield connection
        finally:
            connection.disconnect()


def stored(rows: ir.Table) -> ir.Table:
    """The rows computed once and kept in a temporary table, for expressions that read them more than once.

    ibis's own `cache` drops its tables when they are collected, by then often on a closed connection.
    """
    return rows.get_backend().create_table(f"genux_stored_{next(_numbers)}", rows, temp=True)


def count_of(rows: ir.Table) -> int:
    """The number of rows."""
    return int(rows.count().to_pyarrow().as_py())
