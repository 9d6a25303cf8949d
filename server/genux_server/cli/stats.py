"""`genux stats METHOD`: any statistical method of the engine on named inputs, as JSON."""

import sys
from pathlib import Path

import click

__all__ = ["stats"]


@click.command()
@click.argument("method", required=False)
@click.option("--list", "list_methods", is_flag=True, help="List the methods with the JSON schemas of their inputs.")
@click.option("--json", "as_json", is_flag=True, help="Read and print JSON (the only form there is; for clarity).")
@click.option("--input", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Default: stdin.")
def stats(method: str | None, *, list_methods: bool, as_json: bool, path: Path | None) -> None:
    """Run one statistical METHOD on inputs given as a JSON object."""
    del as_json
    from genux_server.stats import registry

    if list_methods or method is None:
        click.echo(registry.describe())
        return
    payload = path.read_bytes() if path else sys.stdin.buffer.read()
    click.echo(registry.run(method, payload))
