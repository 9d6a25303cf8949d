"""A copy of everything the service keeps, taken while it works, and put back in an empty place.

The databases of one moment name the lake's published state of that moment. Of the lake, the copy holds the files of
exactly that state, and of each table's log exactly the commits that led to it: a chunk that was half-way into the lake
is not in the copy, and the worker of the restored service carries it in from the inbox, once.
"""

import datetime as dt
import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

import msgspec

from genux.errors import GenuxError
from genux_server.config import Config
from genux_server.lake import Lake
from genux_server.model import TABLES, LakeVersions
from genux_server.service.scope import utcnow
from genux_server.store import Store, dump

__all__ = ["BackupError", "Manifest", "backup", "restore"]

_FORMAT = 1
_MANIFEST = "backup.json"
_DATABASES = "databases"
_LAKE = "lake"
_LOG = "_delta_log"
_LAST_CHECKPOINT = "_last_checkpoint"
_VERSION_DIGITS = 20
"""A log file's name begins with its table version, so wide."""


class BackupError(GenuxError):
    """The copy is not whole, or does not fit here."""


class File(msgspec.Struct, frozen=True):
    """One file of a backup."""

    bytes: int
    sha256: str


class _LastCheckpoint(msgspec.Struct, frozen=True):
    version: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds; written last, so that a folder without it is none. `files` are by path inside the folder."""

    format: int
    genux: str
    taken_at: dt.datetime
    database: str
    lake: LakeVersions
    files: dict[str, File]


def backup(store: Store, config: Config, folder: Path) -> Manifest:
    """Copy databases and lake of this moment into a new or empty folder. Nothing has to be stopped.

    Raises:
        BackupError: the folder is not empty, or the lake is no folder of this machine.
        ConfigError: PostgreSQL's `pg_dump` is not at hand.
        OSError: the disk is full, or a file cannot be read.
        StorageError: a database is busy or gone.
    """
    lake = _local_lake(config)
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty; a backup gets a folder of its own")
    databases = folder / _DATABASES
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it will hold keys' hashes and the secrets of tokens
    databases.mkdir()
    taken_at = utcnow()
    with dump.dump(store) as (versions, write_databases):
        write_databases(databases)
    _copy_lake(lake, folder / _LAKE, versions)
    manifest = Manifest(
        format=_FORMAT,
        genux=version("genux"),
        taken_at=taken_at,
        database=store.control.dialect.name,
        lake=versions,
        files={
            path.relative_to(folder).as_posix(): _describe(path) for path in sorted(folder.rglob("*")) if path.is_file()
        },
    )
    partial = folder / f"{_MANIFEST}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    partial.replace(folder / _MANIFEST)
    return manifest


def restore(store: Store, config: Config, folder: Path) -> Manifest:
    """Put a backup where nothing is yet. Nothing is written before every file of the backup was found whole.

    Raises:
        BackupError: the folder holds no whole backup, it is of another kind of database, or this place is not empty.
        ConfigError: PostgreSQL's `pg_restore` is not at hand.
        OSError: the disk is full.
    """
    lake = _local_lake(config)
    manifest = _read(folder)
    if manifest.database != store.control.dialect.name:
        raise BackupError(
            f"the backup is of {manifest.database}, and this service is set to {store.control.dialect.name}"
        )
    if not dump.is_empty(store):
        raise BackupError("there is a database here already; restore into an empty place")
    if lake.exists() and any(lake.iterdir()):
        raise BackupError(f"{lake} is not empty; restore into an empty place")
    for name, described in manifest.files.items():
        path = folder / name
        if not path.is_file() or _describe(path) != described:
            raise BackupError(f"{name} of the backup is missing or damaged")
    if (folder / _LAKE).exists():
        shutil.copytree(folder / _LAKE, lake, dirs_exist_ok=True)
    dump.load(store, folder / _DATABASES)  # last: without databases no service takes the lake for its own
    return manifest


def _local_lake(config: Config) -> Path:
    if "://" in config.lake_path:
        raise BackupError(
            f"the lake is at {config.lake_path}: back that up with the store's own versions or replication"
        )
    return Path(config.lake_path).absolute()


def _read(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{folder} holds no finished backup: {_MANIFEST} is missing") from None
    except msgspec.DecodeError as error:
        raise BackupError(f"{folder / _MANIFEST} cannot be read: {error}") from error
    if manifest.format != _FORMAT:
        raise BackupError(f"the backup has format {manifest.format}; this genux reads format {_FORMAT}")
    return manifest


def _copy_lake(lake: Path, target: Path, versions: LakeVersions) -> None:
    files = Lake(lake).files(versions)
    for table in TABLES:
        at = getattr(versions, table)
        if at < 0:
            continue
        for source in map(Path, getattr(files, table)):
            _copy(source, target / source.relative_to(lake))
        for source in (lake / table / _LOG).iterdir():
            if _belongs(source, at):
                _copy(source, target / table / _LOG / source.name)
    # Reading the copy proves that its log leads to the same files.
    copied = Lake(target).files(versions)
    for table in TABLES:
        wanted = [Path(path).relative_to(lake) for path in getattr(files, table)]
        if [Path(path).relative_to(target.absolute()) for path in getattr(copied, table)] != wanted:
            raise BackupError(f"the copy of {table} does not hold what the original holds")


def _belongs(log_file: Path, at: int) -> bool:
    """Whether a file of a table's log is part of its history up to a version."""
    if log_file.name == _LAST_CHECKPOINT:
        return msgspec.json.decode(log_file.read_bytes(), type=_LastCheckpoint).version <= at
    digits = log_file.name[:_VERSION_DIGITS]
    return log_file.is_file() and digits.isdigit() and int(digits) <= at


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _describe(path: Path) -> File:
    with path.open("rb") as file:
        return File(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())
