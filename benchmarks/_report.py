"""What every benchmark does with its figures: a table to read, and JSON to compare with the next run."""

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["SEED", "Report", "parser", "spread"]

SEED = 20261122
PACKAGES = ("duckdb", "deltalake", "genux", "msgspec", "numpy", "openai")


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with `--json PATH`; a benchmark adds its own sizes."""
    arguments = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    arguments.add_argument("--json", type=Path, help="also write the figures, machine and versions there")
    return arguments


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {"median": median, "q1": low, "q3": high, "n": len(values)}


class Report:
    """Tables of one run. A row is a mapping; one with an `error` prints that instead of figures."""

    def __init__(self, benchmark: str) -> None:
        self.benchmark = Path(benchmark).stem
        self.tables: dict[str, list[Mapping[str, Any]]] = {}

    def table(self, title: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Print and keep.

        Args:
            title: says units and what was done.
            columns: key in the rows -> format, such as `,.1f`; the first is the row's name.
            rows: one a thing measured; a key that is not there prints as a dash.
        """
        self.tables[title] = list(rows)
        name, *figures = columns
        width = max(len(str(row[name])) for row in rows)
        print(f"\n{title}")
        print(" " * width, *(f"{key:>{max(9, len(key) + 2)}}" for key in figures))
        for row in rows:
            cells = [
                f"{format(row[key], columns[key]) if row.get(key) is not None else '-':>{max(9, len(key) + 2)}}"
                for key in figures
            ]
            print(f"{row[name]:{width}}", *([f"  {row['error']}"] if "error" in row else cells))
        sys.stdout.flush()

    def save(self, path: Path | None, **facts: Any) -> None:
        """Write everything as JSON when there is a path."""
        if path is None:
            return
        content = {
            "benchmark": self.benchmark,
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PACKAGES},
            "seed": SEED,
            **facts,
            "tables": self.tables,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, default=str) + "\n")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
