"""The sub-commands of `genux`, imported only when they are called, so that `genux --help` is quick."""

import importlib

import click

from genux.errors import GenuxError

__all__ = ["cli"]

_COMMANDS = {
    "analyze": "genux_server.cli.analyze:analyze",
    "backup": "genux_server.cli.backup:backup",
    "demo": "genux_server.cli.demo:demo",
    "doctor": "genux_server.cli.doctor:doctor",
    "keys": "genux_server.cli.keys:keys",
    "migrate": "genux_server.cli.serve:migrate",
    "report": "genux_server.cli.report:report",
    "restore": "genux_server.cli.backup:restore",
    "serve": "genux_server.cli.serve:serve",
    "stats": "genux_server.cli.stats:stats",
    "unit": "genux_server.cli.unit:unit",
    "worker": "genux_server.cli.serve:worker",
}


class _LazyGroup(click.Group):
    """Imports a sub-command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, name = target.split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """A `GenuxError` is a sentence for the person at the terminal, not a traceback."""
        try:
            return super().invoke(ctx)
        except GenuxError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="genux")
def cli() -> None:
    """Find out which generative UX wins, what it costs, and roll it out."""
