"""`genux serve`, `worker` and `migrate`: the processes of the service, and its tables."""

import json
import os
import signal
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from genux_server import migrate as migrations
from genux_server.cli.options import data_option
from genux_server.cli.stores import opened
from genux_server.config import Config
from genux_server.service import bootstrap, snapshot
from genux_server.service import keys as key_verbs
from genux_server.service.bootstrap import Credentials
from genux_server.store import Store

__all__ = ["migrate", "serve", "worker"]


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 picks a free one.  [default: 8321]")
@data_option
@click.option("--no-worker", is_flag=True, help="Only answer HTTP; `genux worker` runs elsewhere.")
@click.option(
    "--print-keys-json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write address and keys to this file (mode 0600); keys in it that still work are kept.",
)
def serve(
    *, host: str | None, port: int | None, data: Path | None, no_worker: bool, print_keys_json: Path | None
) -> None:
    """Run the service: web, worker, SQLite and lake under one directory, until Ctrl-C."""
    from genux_server.cli.processes import free_port, run_web, shared_telemetry, supervised_worker, wait_for_port
    from genux_server.service import logs

    config = Config.from_env(host=host, port=port, data=data)
    logs.configure(config)
    config = replace(config, port=config.port or free_port(config.host), data=config.data.absolute())
    wait_for_port(config.host, config.port)
    with opened(config) as store:
        made = bootstrap.first_start(store, config)
        snapshot.refresh_all_versions(store)
        if print_keys_json is not None:
            _write_keys(store, config, made, print_keys_json)
    _print_welcome(config, made)
    with shared_telemetry(config):
        if no_worker:
            run_web(config)
        else:
            with supervised_worker(config):
                run_web(config)


@click.command()
@data_option
def worker(*, data: Path | None) -> None:
    """Carry the inbox into the lake and keep reports fresh; one is active, others stand by."""
    from genux_server.cli.processes import stop_with_parent
    from genux_server.service import exposition, logs
    from genux_server.service.sentry import watch_errors
    from genux_server.service.services import Services
    from genux_server.service.worker import Worker

    config = Config.from_env(data=data)
    logs.configure(config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    stop_with_parent(stop.set)
    services = Services(config)
    watch_errors(config)
    with exposition.served(services) if config.worker_metrics_port else nullcontext():
        Worker(services.store, services.lake, config, services.telemetry).run(stop)
    services.store.close()


@click.command()
@data_option
@click.option("--down", "revision", help="Go back to this revision; `base` drops every table.")
def migrate(*, data: Path | None, revision: str | None) -> None:
    """Bring the database's tables to this version of genux (`serve` does so by itself)."""
    config = Config.from_env(data=data)
    with opened(config, upgrade=revision is None) as store:
        if revision is not None:
            click.confirm(f"Go back to {revision}? What newer tables hold is lost.", abort=True)
            migrations.downgrade(store, revision)
        click.echo(f"at {', '.join(str(each) for each in migrations.revisions(store))}")


def _write_keys(store: Store, config: Config, made: Credentials | None, path: Path) -> None:
    kept = _kept_keys(store, path)
    if made is not None:
        content = {name: getattr(made, name) for name in made.__struct_fields__}
    elif kept is not None:
        content = kept
    else:
        scope = bootstrap.find_scope(store, bootstrap.PROJECT, bootstrap.ENVIRONMENTS[0], actor="command line")
        minted = bootstrap.mint_keys(store, scope, f"for {path.name}")
        content = {
            "project": scope.project,
            "environment": scope.environment,
            **{f"{kind}_key": secret for kind, secret in minted.items()},
        }
    text = json.dumps({**content, "url": config.url}, indent=2) + "\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def _kept_keys(store: Store, path: Path) -> dict[str, str] | None:
    try:
        content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        works = all(key_verbs.authenticate(store, content[name]) for name in ("server_key", "browser_key", "admin_key"))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return content if works else None


def _print_welcome(config: Config, made: Credentials | None) -> None:
    click.echo(f"genux is at {config.url} (data in {config.data})")
    if made is None:
        return
    click.echo(
        f"""
This is the first start. Keep these, they are shown once:

  login       {made.admin_email}  password {made.admin_password}

  export GENUX_URL={config.url}
  export GENUX_API_KEY={made.server_key}

  browser key {made.browser_key}
  admin key   {made.admin_key}

They belong to {made.project}/{made.environment}; `genux keys create --environment prod` makes others.
"""
    )
    if not config.secure_cookies and config.host not in {"127.0.0.1", "localhost", "::1"}:
        click.echo("Others can reach this address: put TLS in front of it and set GENUX_SECURE_COOKIES=1.", err=True)
