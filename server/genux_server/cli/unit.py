"""`genux unit`: what is kept of one unit, to hand over or to forget; for whoever owns the database."""

import threading
from pathlib import Path

import click
import msgspec

from genux_server.cli.options import data_option
from genux_server.cli.stores import opened
from genux_server.config import Config
from genux_server.lake import Lake
from genux_server.service import bootstrap, units
from genux_server.service.plain import plain
from genux_server.service.worker import Worker

__all__ = ["unit"]

_LOOK_EVERY_SECONDS = 0.1

_kind = click.option("--kind", default="user", show_default=True, help="Kind of the unit.")
_project = click.option("--project", default="default", show_default=True)


@click.group()
def unit() -> None:
    """Everything of one unit, by any of its ids."""


@unit.command("export")
@click.argument("unit_id", metavar="ID")
@_kind
@_project
@click.option("--environment", default="dev", show_default=True)
@data_option
def export_unit(*, data: Path | None, unit_id: str, kind: str, project: str, environment: str) -> None:
    """Print all that is kept of unit ID, a JSON object a line."""
    config = Config.from_env(data=data)
    with opened(config) as store:
        scope = bootstrap.find_scope(store, project, environment, "command line")
        for row in units.export(store, Lake(config.lake_path), scope, kind, unit_id):
            click.echo(msgspec.json.encode(row))


@unit.command("erase")
@click.argument("unit_id", metavar="ID")
@_kind
@_project
@click.option("--environment", default="", help="Only in this one; without it in every environment of the project.")
@click.confirmation_option(
    prompt="All that is kept of this unit will be gone, and no earlier state can be read. Go on?"
)
@data_option
def erase_unit(*, data: Path | None, unit_id: str, kind: str, project: str, environment: str) -> None:
    """Forget unit ID, and wait until that is done.

    A running worker does it; where none runs, this command is the worker for as long as it takes.
    """
    config = Config.from_env(data=data)
    with opened(config) as store:
        scope = bootstrap.find_scope(store, project, environment or bootstrap.ENVIRONMENTS[0], "command line")
        asked = units.request_erasure(store, scope, kind, unit_id, whole_project=not environment)
        stop = threading.Event()
        worker = threading.Thread(target=Worker(store, Lake(config.lake_path), config).run, args=(stop,))
        worker.start()
        try:
            while asked.done_at is None and worker.is_alive():
                stop.wait(_LOOK_EVERY_SECONDS)
                asked = units.find_erasure(store, scope, asked.id)
        finally:
            stop.set()
            worker.join()
        click.echo(msgspec.json.format(msgspec.json.encode(plain(asked)), indent=2))
