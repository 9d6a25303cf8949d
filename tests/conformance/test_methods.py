"""Runs every statistical vector through the registry, as any other language or tool would."""

import json
import math
from pathlib import Path

import msgspec
import pytest

from genux_server.stats.registry import METHODS, run

FILES = sorted(Path(__file__).parent.glob("methods_*.json"))
VECTORS = [
    pytest.param(vector, id=f"{file.stem}-{number}-{vector['method']}")
    for file in FILES
    for number, vector in enumerate(json.loads(file.read_text())["vectors"])
]


def reach(output, path):
    for step in path.split("."):
        output = output[int(step) if isinstance(output, list) else step]
    return output


@pytest.mark.parametrize("vector", VECTORS)
def test_a_method_gives_what_another_implementation_or_a_published_table_gives(vector):
    output = json.loads(run(vector["method"], msgspec.json.encode(vector["input"])))
    for path, expected in vector["expected"].items():
        got = reach(output, path)
        if expected is None or isinstance(expected, (str, bool)):
            assert got == expected, path
        else:
            assert got is not None, path
            tolerance = vector["tolerance"]
            assert math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance if expected == 0 else 0.0), (
                f"{path}: {got!r} is not {expected!r} ({vector['source']})"
            )


def test_there_are_enough_vectors_and_every_method_has_one():
    covered = {param.values[0]["method"] for param in VECTORS}
    assert len(VECTORS) >= 150
    assert not set(METHODS) - covered
