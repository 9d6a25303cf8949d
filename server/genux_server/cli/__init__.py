"""The `genux` command. Without the server's libraries it still answers, with what to install."""

import importlib.util
import sys

__all__ = ["main"]

_NEEDED = ("click", "rich", "flask", "sqlalchemy", "deltalake", "duckdb", "ibis", "scipy", "statsmodels")


def main() -> None:
    """Entry point of the `genux` command."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        if sys.argv[1:2] == ["doctor"]:
            import runpy

            sys.argv = sys.argv[1:]
            runpy.run_module("genux.doctor", run_name="__main__")
            return
        sys.stderr.write(
            "This is the light SDK. The command line and the service need a few libraries more:\n"
            "    pip install 'genux[server]'\n"
            f"(missing here: {', '.join(missing)}; `genux doctor` works without them)\n"
        )
        raise SystemExit(2)
    from genux_server.cli.main import cli

    cli(prog_name="genux")
