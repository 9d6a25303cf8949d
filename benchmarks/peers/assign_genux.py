# Run in an environment that holds this SDK; most of its kind publish no types.
# ruff: noqa: ANN001, ANN201, ANN202
"""Prepared: the pure function over a compiled snapshot. Whole: a unit's scope, and the client in it."""

import json
import tempfile
from pathlib import Path

from _subject import COUNTRIES, KEY, NONE, VARIANTS, Subject

import genux
from genux.assignment import assign, compile_snapshot
from genux.config import load_config, snapshot_from_config


def subjects(url):
    targeting = [[{"attribute": "country", "op": "in", "value": COUNTRIES}]]
    experiment = {"key": KEY, "variants": [{"key": v} for v in VARIANTS], "targeting": targeting}
    path = Path(tempfile.mkdtemp()) / "genux.yaml"
    path.write_text(json.dumps({"experiments": [experiment]}))
    compiled = compile_snapshot(snapshot_from_config(load_config(path)))
    gx = genux.Client(url, "key", config=path, directory=path.parent, exit_flush_seconds=0.0)
    look = gx.variant if url else gx.peek

    def prepared(user):
        assignment = assign(compiled, KEY, user[0], user[1])
        return assignment.key if assignment.reason == "ASSIGNED" else NONE

    def whole(user):
        with gx.unit(user[0], **user[1]):
            assignment = look(KEY)
            return assignment.key if assignment.reason == "ASSIGNED" else NONE

    return [
        *([] if url else [Subject("genux.assignment.assign", tuple, prepared)]),
        Subject("genux.Client, unit and " + ("variant" if url else "peek"), tuple, whole, lambda: gx.flush(20.0)),
    ]
