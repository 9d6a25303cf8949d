"""`/v1/experiments`: read with a server or admin key, change with an admin key."""

import msgspec
from flask import Blueprint, Response, request

from genux.errors import ServiceError
from genux.specs import ExperimentSpec
from genux_server.api.context import json_response, principal, read_body, services
from genux_server.service import experiments

__all__ = ["register"]

_VERBS = {
    "start": experiments.start,
    "pause": experiments.pause,
    "resume": experiments.resume,
    "stop": experiments.stop,
    "archive": experiments.archive,
}


class _Ship(msgspec.Struct, forbid_unknown_fields=True):
    variant: str


class _Coverage(msgspec.Struct, forbid_unknown_fields=True):
    coverage: float
    allocation: dict[str, float] | None = None


def register(api: Blueprint) -> None:
    """Add these addresses."""
    api.get("/v1/experiments")(list_experiments)
    api.post("/v1/experiments")(create_experiment)
    api.get("/v1/experiments/<key>")(get_experiment)
    api.put("/v1/experiments/<key>")(put_experiment)
    api.put("/v1/experiments/<key>/coverage")(put_coverage)
    api.post("/v1/experiments/<key>/ship")(ship_experiment)
    api.post("/v1/experiments/<key>/<any(start, pause, resume, stop, archive):verb>")(change_status)
    api.get("/v1/experiments/<key>/report")(get_report)


def list_experiments() -> Response:
    """Every experiment of the key's environment, oldest first."""
    caller = principal("server", "admin")
    found = experiments.list_experiments(services().store, caller.scope)
    return json_response({"experiments": found})


def create_experiment() -> Response:
    """A new draft."""
    caller = principal("admin")
    made = experiments.create(services().store, caller.scope, read_body(ExperimentSpec))
    response = json_response(made, 201)
    response.headers["Location"] = f"{request.path}/{made.key}"
    return response


def get_experiment(key: str) -> Response:
    """One experiment as it stands."""
    caller = principal("server", "admin")
    return json_response(experiments.get(services().store, caller.scope, key))


def put_experiment(key: str) -> Response:
    """Replace the spec; of a started experiment only what assigns nobody."""
    caller = principal("admin")
    spec = read_body(ExperimentSpec)
    if spec.key != key:
        raise ServiceError("invalid", f"$.key: the address says `{key}`, the body `{spec.key}`.", 400)
    return json_response(experiments.update(services().store, caller.scope, spec))


def put_coverage(key: str) -> Response:
    """Admit more units, by new shares if any are given; nobody moves."""
    caller = principal("admin")
    body = read_body(_Coverage)
    changed = experiments.raise_coverage(services().store, caller.scope, key, body.coverage, body.allocation)
    return json_response(changed)


def ship_experiment(key: str) -> Response:
    """Give everyone one variant, for good."""
    caller = principal("admin")
    return json_response(experiments.ship(services().store, caller.scope, key, read_body(_Ship).variant))


def change_status(key: str, verb: str) -> Response:
    """Start, pause, resume, stop or archive."""
    caller = principal("admin")
    return json_response(_VERBS[verb](services().store, caller.scope, key))


def get_report(key: str) -> Response:
    """The newest report; `?refresh=1` waits for one on everything accepted so far."""
    from genux_server.service import reports

    caller = principal("server", "admin")
    store = services().store
    report = None if request.args.get("refresh") == "1" else reports.current(store, caller.scope, key)
    if report is None:
        report = reports.refresh(store, services().lake, caller.scope, key)
    return json_response(report)
