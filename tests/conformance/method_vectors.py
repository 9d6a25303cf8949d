"""How the generators of `methods_*.json` write their vectors; the runner reads them back."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


class VectorFile:
    """Collects vectors and writes them, one per line, so that a change is one line of a diff."""

    def __init__(self, name, about):
        self.path = HERE / f"methods_{name}.json"
        self.about = about
        self.vectors = []

    def add(self, method, given, expected, source, tolerance=1e-9):
        """`expected` maps dotted paths into the output to numbers, words or null; `tolerance` is relative."""
        plain = {key: None if value is None else _plain(value) for key, value in expected.items()}
        self.vectors.append(
            {"method": method, "input": given, "expected": plain, "tolerance": tolerance, "source": source}
        )

    def write(self):
        lines = ",\n".join("  " + json.dumps(v, ensure_ascii=False) for v in self.vectors)
        self.path.write_text(f'{{"about": {json.dumps(self.about)}, "vectors": [\n{lines}\n]}}\n')
        sys.stdout.write(f"{len(self.vectors)} vectors in {self.path.name}\n")


def _plain(value):
    return value if isinstance(value, (str, bool, int)) else float(value)
