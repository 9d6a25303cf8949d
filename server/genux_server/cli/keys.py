"""`genux keys`: keys and passwords of this installation."""

import secrets
from pathlib import Path

import click

from genux_server.cli.options import data_option
from genux_server.cli.stores import opened
from genux_server.config import Config
from genux_server.service import bootstrap, people
from genux_server.service import keys as verbs
from genux_server.service.keys import KeyKind

__all__ = ["keys"]

_origins = click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Of pages that may use a browser key, such as https://app.example.com; * for all. Repeat for more.",
)


@click.group()
def keys() -> None:
    """API keys and passwords of this installation, without a login: for whoever owns the database."""


@keys.command("create")
@click.option("--kind", type=click.Choice(["server", "browser", "admin"]), default="server", show_default=True)
@click.option("--project", default="default", show_default=True)
@click.option("--environment", default="dev", show_default=True)
@click.option("--name", default="", help="What it is for.")
@_origins
@data_option
def create_key(
    *, data: Path | None, kind: KeyKind, project: str, environment: str, name: str, origins: tuple[str, ...]
) -> None:
    """Make a key and print it, once."""
    with opened(Config.from_env(data=data)) as store:
        scope = bootstrap.find_scope(store, project, environment, actor="command line")
        click.echo(verbs.create(store, scope, kind, name, origins).secret)


@keys.command("list")
@click.option("--project", default="default", show_default=True)
@data_option
def list_keys(*, data: Path | None, project: str) -> None:
    """A project's keys."""
    with opened(Config.from_env(data=data)) as store:
        scope = bootstrap.find_scope(store, project, bootstrap.ENVIRONMENTS[0])
        for key in verbs.list_keys(store, scope):
            state = (
                "revoked" if key.revoked_at else f"last used {key.last_used_at:%Y-%m-%d}" if key.last_used_at else ""
            )
            pages = ("from " + ", ".join(key.origins or ["no page"])) if key.kind == "browser" else ""
            words = "  ".join(filter(None, [key.name, pages, state]))
            click.echo(f"{key.id:>4}  {key.prefix}…  {key.kind:<8}{key.environment:<9}{words}".rstrip())


@keys.command("origins")
@click.argument("key_id", type=int)
@_origins
@click.option("--project", default="default", show_default=True)
@data_option
def set_origins(*, data: Path | None, key_id: int, origins: tuple[str, ...], project: str) -> None:
    """Say whose pages may use a browser key from now on, instead of those before; without --origin none may."""
    with opened(Config.from_env(data=data)) as store:
        scope = bootstrap.find_scope(store, project, bootstrap.ENVIRONMENTS[0], "command line")
        verbs.set_origins(store, scope, key_id, origins)


@keys.command("revoke")
@click.argument("key_id", type=int)
@click.option("--project", default="default", show_default=True)
@data_option
def revoke_key(*, data: Path | None, key_id: int, project: str) -> None:
    """Refuse a key from now on."""
    with opened(Config.from_env(data=data)) as store:
        verbs.revoke(store, bootstrap.find_scope(store, project, bootstrap.ENVIRONMENTS[0], "command line"), key_id)


@keys.command("password")
@click.argument("email")
@data_option
def reset_password(*, data: Path | None, email: str) -> None:
    """Give a person a new password and print it, once."""
    password = secrets.token_urlsafe(12)
    with opened(Config.from_env(data=data)) as store:
        people.set_password(store, email, password)
    click.echo(password)
