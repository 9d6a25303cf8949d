"""`python -m genux_server.stats METHOD --json`: any method on named inputs, without the service."""

import argparse
import sys
from pathlib import Path

from genux_server.stats.registry import MethodError, describe, run

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Reads inputs, prints outputs.

    Returns:
        The exit code: 0, or 2 after a sentence on standard error.
    """
    parser = argparse.ArgumentParser(prog="genux stats", description="Any statistical method on named inputs.")
    parser.add_argument("method", nargs="?", help="a name from --list")
    parser.add_argument("--list", action="store_true", help="methods with the JSON schemas of inputs and outputs")
    parser.add_argument("--json", action="store_true", help="read and print JSON (the only form there is)")
    parser.add_argument("--input", type=Path, help="a file with the inputs; standard input when not given")
    options = parser.parse_args(arguments)
    if options.list or options.method is None:
        sys.stdout.write(describe() + "\n")
        return 0
    try:
        payload = options.input.read_bytes() if options.input else sys.stdin.buffer.read()
        sys.stdout.write(run(options.method, payload).decode() + "\n")
    except MethodError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"bad_input: {options.input} cannot be read ({error.strerror})\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
