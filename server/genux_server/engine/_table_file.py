"""A CSV or Parquet file that a person has, as a table; what is wrong with it said in a sentence."""

import csv
import difflib
import glob
import gzip
import hashlib
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir

from genux.errors import ConfigError

__all__ = ["digest_of", "open_table", "refused_by_duckdb", "require_columns"]

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; save the sheet as CSV",
    b"\xff\xfe": "text in UTF-16; save it as CSV in UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as CSV in UTF-8",
    b"%PDF": "a PDF",
}
_DELIMITERS = ",;\t|"
_MAX_HEADER_BYTES = 1 << 20
_DIGEST_LENGTH = 16


def open_table(connection: ibis.BaseBackend, path: Path, wanted: Sequence[str]) -> ir.Table:
    """The file as a table that is read as it is needed, never whole: a CSV file's columns are all text.

    Args:
        connection: who reads it.
        path: a CSV file (comma, semicolon, tab or bar; gzip allowed) with a header, or a Parquet file.
        wanted: columns that must be there; they also tell which character separates a CSV file's columns.

    Raises:
        ConfigError: there is no such file, it is empty or of another kind, or a column is missing.
    """
    head = _first_bytes(path)
    escaped = glob.escape(str(path))
    if head.startswith(_PARQUET):
        table = connection.read_parquet(escaped)
    else:
        compressed = head.startswith(_GZIP)
        header, delimiter = _header(path, wanted, compressed=compressed)
        table = connection.read_csv(
            escaped,
            columns=dict.fromkeys(header, "VARCHAR"),
            auto_detect=False,
            header=True,
            sep=delimiter,
            quote='"',
            escape='"',
            compression="gzip" if compressed else "none",
        )
    require_columns(path, table.columns, wanted)
    return table


def require_columns(path: Path, present: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuse a file without a wanted column, naming those it has and the one that was probably meant.

    Raises:
        ConfigError: a column is missing.
    """
    names = list(present)
    for name in wanted:
        if name not in names:
            lowered = {other.lower(): other for other in names}
            near = difflib.get_close_matches(name.lower(), lowered, n=1)
            hint = f" Did you mean {lowered[near[0]]!r}?" if near else ""
            raise ConfigError(f"{path.name} has no column {name!r}.{hint} It has: {', '.join(names)}.")


@contextmanager
def refused_by_duckdb(path: Path) -> Generator[None]:
    """Turn what DuckDB says about a file's contents into one sentence.

    Raises:
        ConfigError: in place of DuckDB's error.
    """
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        line = re.search(r"CSV Error on Line: (\d+)", text)
        where = f" line {line[1]}" if line else ""
        columns = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
        if columns:
            raise ConfigError(
                f"{path.name}{where} has {columns[2]} values, but the header names {columns[1]} columns."
            ) from error
        if "unicode" in text.lower() or "utf-8" in text.lower():
            raise ConfigError(f"{path.name}{where} is not UTF-8 text; save the file as CSV in UTF-8.") from error
        raise ConfigError(f"{path.name}{where} cannot be read: {text.splitlines()[0]}") from error


def digest_of(path: Path) -> str:
    """A name for the file's exact contents: the beginning of its SHA-256.

    Two gigabytes take a few seconds, less than reading them as a table.
    """
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:_DIGEST_LENGTH]}"


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise ConfigError(f"There is no file {path}.")
    if not path.is_file():
        raise ConfigError(f"{path} is not a file.")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if not head.strip():
        raise ConfigError(f"{path.name} is empty.")
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise ConfigError(f"{path.name} is {what}. genux reads CSV and Parquet.")
    if b"\0" in head and not head.startswith((_PARQUET, _GZIP)):
        raise ConfigError(f"{path.name} is neither CSV nor Parquet.")
    return head


def _header(path: Path, wanted: Sequence[str], *, compressed: bool) -> tuple[list[str], str]:
    """The column names in a CSV file's first line, and the character that separates them."""
    opening = gzip.open if compressed else open
    try:
        with opening(path, "rb") as file:
            first = file.readline(_MAX_HEADER_BYTES)
        line = first.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is neither CSV in UTF-8 nor Parquet.") from error
    candidates = [(next(csv.reader([line], delimiter=delimiter), []), delimiter) for delimiter in _DELIMITERS]
    header, delimiter = max(candidates, key=lambda c: (len(set(wanted) & set(c[0])), len(c[0])))
    require_columns(path, header, wanted)
    twice = sorted({name for name in header if [other.lower() for other in header].count(name.lower()) > 1})
    if twice:
        raise ConfigError(f"{path.name} has two columns called {twice[0]!r}.")
    return header, delimiter
