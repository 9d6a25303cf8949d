# Run in an environment that holds this SDK; most of its kind publish no types.
# ruff: noqa: ANN001, ANN201
"""A file data source feeds the store that its stream would; the rule asks for events, as an experiment does."""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path

from _subject import COUNTRIES, KEY, NONE, VARIANTS, Subject
from ldclient import Context, LDClient
from ldclient.config import Config
from ldclient.integrations import Files


def subjects(url):
    weights = [33_334, 33_333, 33_333]
    flag = {
        "key": KEY,
        "version": 1,
        "on": True,
        "salt": KEY,
        "variations": [*VARIANTS, NONE],
        "offVariation": 3,
        "fallthrough": {"variation": 3},
        "rules": [
            {
                "id": "1",
                "clauses": [{"contextKind": "user", "attribute": "country", "op": "in", "values": COUNTRIES}],
                "rollout": {
                    "kind": "experiment",
                    "contextKind": "user",
                    "seed": 1,
                    "variations": [{"variation": i, "weight": weight} for i, weight in enumerate(weights)],
                },
                "trackEvents": True,
            }
        ],
        "targets": [],
        "prerequisites": [],
        "clientSide": False,
        "deleted": False,
    }
    path = Path(tempfile.mkdtemp()) / "flags.json"
    path.write_text(json.dumps({"flags": {KEY: flag}}))
    config = Config(
        "sdk-key",
        update_processor_class=Files.new_data_source([str(path)]),
        send_events=bool(url),
        events_uri=url or "http://127.0.0.1:9",
        diagnostic_opt_out=True,
    )
    client = LDClient(config)
    return [
        Subject(
            f"launchdarkly {version('launchdarkly-server-sdk')}, file data",
            lambda user: Context.builder(user[0]).set("country", user[1]["country"]).set("plan", "pro").build(),
            lambda user: client.variation(KEY, user, NONE),
            client.flush,
            settle_seconds=1.0,
        )
    ]
