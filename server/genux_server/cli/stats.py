"""`genux stats METHOD`: any statistical method of the engine on named inputs, as JSON."""

import sys

import click

__all__ = ["stats"]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def stats(arguments: tuple[str, ...]) -> None:
    """Run one statistical METHOD on inputs given as a JSON object; --list names the methods and their schemas."""
    from genux_server.stats.__main__ import main

    sys.exit(main(list(arguments)))
