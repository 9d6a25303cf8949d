# Run in an environment that holds this SDK; most of its kind publish no types.
# ruff: noqa: ANN001, ANN201, ANN202
"""Flags as bytes in `initial_configuration`. Logging is the host's own: here a queue in memory, the cheapest."""

import json
from collections import deque
from importlib.metadata import version

import eppo_client
from _subject import COUNTRIES, KEY, N_EXPOSURES, NONE, VARIANTS, Subject
from eppo_client.config import AssignmentLogger, Config


def subjects(url):
    cuts = [0, 3_334, 6_667, 10_000]
    flag = {
        "key": KEY,
        "enabled": True,
        "variationType": "STRING",
        "variations": {v: {"key": v, "value": v} for v in VARIANTS},
        "allocations": [
            {
                "key": "1",
                "rules": [{"conditions": [{"attribute": "country", "operator": "ONE_OF", "value": COUNTRIES}]}],
                "splits": [
                    {
                        "variationKey": v,
                        "shards": [{"salt": KEY, "ranges": [{"start": start, "end": end}]}],
                    }
                    for v, start, end in zip(VARIANTS, cuts, cuts[1:], strict=False)
                ],
                "doLog": bool(url),
            }
        ],
        "totalShards": 10_000,
    }
    content = {
        "createdAt": "2026-11-01T00:00:00.000Z",
        "format": "SERVER",
        "environment": {"name": "production"},
        "flags": {KEY: flag},
    }
    logged = deque(maxlen=N_EXPOSURES)

    class Queue(AssignmentLogger):
        def log_assignment(self, event):
            logged.append(event)

    client = eppo_client.init(
        Config(
            api_key="key",
            base_url="http://127.0.0.1:9",
            assignment_logger=Queue(),
            poll_interval_seconds=None,
            initial_configuration=eppo_client.Configuration(flags_configuration=json.dumps(content).encode()),
        )
    )
    return [
        Subject(
            f"eppo {version('eppo-server-sdk')}" + (", host's own queue in memory" if url else ""),
            tuple,
            lambda user: client.get_string_assignment(KEY, user[0], user[1], NONE),
        )
    ]
