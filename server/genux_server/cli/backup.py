"""`genux backup` and `genux restore`: everything the service keeps, to a folder and back."""

from pathlib import Path

import click

from genux.errors import ConfigError
from genux_server.cli.options import data_option
from genux_server.config import Config
from genux_server.service import backup as verbs
from genux_server.store import Store

__all__ = ["backup", "restore"]


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@data_option
def backup(*, folder: Path, data: Path | None) -> None:
    """Copy databases and lake of one moment into DIR, while the service works.

    The copy holds secrets: keep it as you keep the service's own disk. The settings are not in it.
    """
    config = Config.from_env(data=data)
    if not config.database_url and not (config.data / "control.db").exists():
        raise ConfigError(f"there is no service in {config.data}; name its directory with --data")
    store = Store(config.control_url, config.inbox_url)
    try:
        made = verbs.backup(store, config, folder)
    finally:
        store.close()
    click.echo(
        f"{folder} holds the service as of {made.taken_at:%Y-%m-%d %H:%M:%S} UTC, lake {made.lake}: {_sum(made)}"
    )


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False, exists=True))
@data_option
def restore(*, folder: Path, data: Path | None) -> None:
    """Put the copy in DIR into an empty place: a data directory, and a database without tables.

    Start the service there afterwards. It reports what was published when the copy was taken, and goes on from there.
    """
    config = Config.from_env(data=data)
    config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(config.control_url, config.inbox_url)
    try:
        made = verbs.restore(store, config, folder)
    finally:
        store.close()
    click.echo(f"restored the service as of {made.taken_at:%Y-%m-%d %H:%M:%S} UTC, lake {made.lake}: {_sum(made)}")


def _sum(manifest: verbs.Manifest) -> str:
    megabytes = sum(file.bytes for file in manifest.files.values()) / 1e6
    return f"{len(manifest.files)} files, {megabytes:,.1f} MB"
