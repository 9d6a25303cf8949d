"""Three Delta tables and the rules by which they change."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import TableNotFoundError

from genux.errors import GenuxError
from genux_server.lake._rows import IsErased, arrow_tables
from genux_server.lake._units import ALIAS, FoundUnit, find_unit
from genux_server.model import TABLES, IngestedBatch, LakeFiles, LakeVersions

__all__ = ["Lake", "StaleChunkError"]

_APP_ID = "genux-inbox"
_PARTITION_BY = ["received_date"]
_WRITER = WriterProperties(compression="ZSTD")
_LOGGED_COLUMNS = "received_at,seq"
"""Delta's log keeps least and greatest values of these. Of an id it would keep the id, beyond that unit's erasure."""

_DELETED_AT_ONCE = 2_000


class StaleChunkError(GenuxError):
    """Another worker has already gone past this chunk: whoever holds it has lost the lease and must stop."""


class Lake:
    """The lake under one root: a folder, or the URI of a bucket.

    Each chunk reaches each table in one Delta commit that carries the chunk's number as a transaction of the app
    `genux-inbox`, so that a table knows whether it has the chunk. Re-running a chunk after a crash at any point
    therefore commits what is missing and nothing else.

    Args:
        root: where the tables are: `root/exposures`, `root/events`, `root/calls`.
        storage_options: credentials and options of an object store, as `deltalake` takes them.
    """

    def __init__(self, root: str | Path, *, storage_options: dict[str, str] | None = None) -> None:
        self._remote = "://" in str(root)
        self._root = str(root).rstrip("/") if self._remote else str(Path(root).absolute())
        self._storage_options = storage_options

    def append(
        self, chunk: int, batches: Sequence[IngestedBatch], *, is_erased: IsErased | None = None
    ) -> LakeVersions:
        """Add a chunk to every table that has rows in it, unless the table has it already.

        Chunks come in ascending order, and the same number always with the same batches.

        Args:
            chunk: its number.
            batches: in their order.
            is_erased: tells the events that are left out.

        Returns:
            The consistent state after the chunk, to be published in one step.

        Raises:
            StaleChunkError: a table is already past this chunk.
            deltalake.exceptions.DeltaError: the storage refused, or another writer committed at the same moment;
                nothing was doubled, and the chunk can be run again.
        """
        rows = arrow_tables(chunk, batches, is_erased)
        versions = {name: self._append_table(name, chunk, rows.get(name)) for name in TABLES}
        return LakeVersions(chunk=chunk, **versions)

    def refusal(self, batch: IngestedBatch) -> str:
        """Why a batch cannot be turned into rows, whatever the storage says; empty when it can.

        Rows are made of all batches of a chunk before any table is touched, so that a chunk with such a batch is in no
        table.
        """
        try:
            arrow_tables(0, [batch])
        except Exception as error:  # noqa: BLE001  # what a decoder or Arrow makes of bytes that should not be here
            return f"{type(error).__name__}: {error}"
        return ""

    def files(self, versions: LakeVersions) -> LakeFiles:
        """The Parquet files of exactly that state, in a fixed order: paths of a folder, URIs of an object store.

        Raises:
            deltalake.exceptions.DeltaError: a version is no longer retained.
        """
        return LakeFiles(
            versions=versions,
            exposures=self._files_of("exposures", versions.exposures),
            events=self._files_of("events", versions.events),
            calls=self._files_of("calls", versions.calls),
        )

    def maintain(self, published: LakeVersions, *, retention_hours: int = 168) -> LakeVersions:
        """Compact small files and delete those that no retained state needs.

        Call it between appends, by the one worker that appends.

        Args:
            published: the state that reports read now; its files stay whatever their age.
            retention_hours: how long files stay readable after they left the newest state.

        Returns:
            The same rows in fewer files, to be published like an append.
        """
        versions = {}
        for name in TABLES:
            table = self._open(name)
            if table is None:
                versions[name] = -1
                continue
            table.optimize.compact(writer_properties=_WRITER)
            table.vacuum(
                retention_hours=retention_hours,
                dry_run=False,
                enforce_retention_duration=False,
                keep_versions=[version for version in [getattr(published, name)] if version >= 0],
            )
            versions[name] = table.version()
        return LakeVersions(chunk=published.chunk, **versions)

    def find(self, project_id: int, environment_ids: Sequence[int], unit_kind: str, unit_id: str) -> FoundUnit:
        """Every row of a unit in the newest state; see `genux_server.lake._units`.

        Call it while nothing is appended.
        """
        tables = {name: self._open(name) for name in TABLES}
        files = {name: self._files_of(name, table.version()) for name, table in tables.items() if table is not None}
        return find_unit(files, project_id, environment_ids, unit_kind, unit_id)

    def delete(self, found: FoundUnit, chunk: int) -> LakeVersions:
        """Take these rows out of the newest state. Deleting again what is gone changes nothing.

        Rows are named by their `seq`, as Delta's log keeps the condition of every delete.

        Args:
            found: the rows. Those that lead to others go after them, so that after a crash the rest is found again.
            chunk: number of the state that this leads to.

        Returns:
            The state without them, to be published before `vacuum` takes the files of the one before.
        """
        aliases = [row for row in found.events if row.columns["name"] == ALIAS]
        outcomes = [row for row in found.events if row.columns["name"] != ALIAS]
        for name, rows in (
            ("events", outcomes),
            ("exposures", found.exposures),
            ("calls", found.calls),
            ("events", aliases),
        ):
            table = self._open(name)
            if table is None:
                continue
            for start in range(0, len(rows), _DELETED_AT_ONCE):
                part = rows[start : start + _DELETED_AT_ONCE]
                dates = " OR ".join(f"received_date = '{each}'" for each in sorted({row.received_date for row in part}))
                seqs = ", ".join(str(row.seq) for row in part)
                table.delete(f"({dates}) AND seq IN ({seqs})", writer_properties=_WRITER)
        tables = {name: self._open(name) for name in TABLES}
        return LakeVersions(
            chunk=chunk, **{name: -1 if table is None else table.version() for name, table in tables.items()}
        )

    def vacuum(self) -> None:
        """Delete every file that the newest state does not need: no earlier state can be read any more."""
        for name in TABLES:
            table = self._open(name)
            if table is not None:
                # `full` takes files of appends that crashed before their commit, too.
                table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)

    def _append_table(self, name: str, chunk: int, rows: pa.Table | None) -> int:
        table = self._open(name)
        committed = -1 if table is None else _committed_chunk(table)
        if committed > chunk:
            raise StaleChunkError(f"chunk {chunk} came after chunk {committed} of table {name}")
        if rows is not None and committed < chunk:
            # Handing over the table as it was when its transaction was read makes Delta refuse the commit if another
            # worker appended the same chunk in between.
            write_deltalake(
                self._uri(name) if table is None else table,
                rows,
                mode="append" if table is not None else "error",
                schema_mode="merge",  # a table from before a column was thought of gets it
                partition_by=_PARTITION_BY,
                storage_options=self._storage_options,
                configuration={"delta.dataSkippingStatsColumns": _LOGGED_COLUMNS} if table is None else None,
                writer_properties=_WRITER,
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(_APP_ID, chunk, _milliseconds(dt.datetime.now(dt.UTC)))]
                ),
            )
            table = table or self._open(name)
        return -1 if table is None else table.version()

    def _open(self, name: str, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(self._uri(name), version=version, storage_options=self._storage_options)
        except TableNotFoundError:
            return None

    def _uri(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _files_of(self, name: str, version: int) -> tuple[str, ...]:
        if version < 0:
            return ()
        table = DeltaTable(self._uri(name), version=version, storage_options=self._storage_options)
        uris = table.file_uris()
        return tuple(sorted(uris if self._remote else map(unquote, uris)))


def _committed_chunk(table: DeltaTable) -> int:
    chunk = table.transaction_version(_APP_ID)
    return -1 if chunk is None else chunk


def _milliseconds(at: dt.datetime) -> int:
    return int(at.timestamp() * 1000)
