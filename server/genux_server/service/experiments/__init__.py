r"""Experiments: written, started, ramped, ended.

```
draft -> running <-> paused
            \-> stopped | shipped -> archived
```

Coverage only rises, and moves nobody. What assigns units, and what decides (the primary metric and the plan), is frozen
at the start; new shares are for units that a higher coverage newly admits.
"""

from genux_server.service.experiments._admission import raise_coverage
from genux_server.service.experiments._definition import create, update
from genux_server.service.experiments._lifecycle import archive, pause, resume, ship, start, stop
from genux_server.service.experiments._rows import ExperimentStatus, ExperimentView, get, list_experiments, view

__all__ = [
    "ExperimentStatus",
    "ExperimentView",
    "archive",
    "create",
    "get",
    "list_experiments",
    "pause",
    "raise_coverage",
    "resume",
    "ship",
    "start",
    "stop",
    "update",
    "view",
]
