"""Says what is wrong between this machine and the service, and how to mend it.

`python -m genux.doctor`, or `genux doctor` where the server package is installed.
"""

import contextlib
import datetime as dt
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import msgspec

from genux._options import Options, nearest_folder, resolve
from genux._segments import PARKED, parked_names, reason_parked, segment_names, used_bytes
from genux._snapshot import read_cache
from genux._status import Status
from genux._transport import HttpTransport, Response, Transport
from genux.assignment import compile_snapshot
from genux.errors import ConfigError, TransportError

__all__ = ["Finding", "diagnose", "main"]

_TIMEOUT_SECONDS = 5.0
_SKEW_WARNING_SECONDS = 5.0
_SKEW_PROBLEM_SECONDS = 300.0
_OLD_SNAPSHOT_SECONDS = 86_400.0
_OLD_BATCH_SECONDS = 300.0
_EPHEMERAL = {"tmpfs": "memory", "ramfs": "memory", "overlay": "the container's own layer"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at.

    Attributes:
        code: a stable word, such as `key_refused`.
        status: `ok`; `warning`, it works but may not for long; `problem`, something is not measured.
        message: what was found.
        advice: what to do about it; empty when it is well.
    """

    code: str
    status: Literal["ok", "warning", "problem"]
    message: str
    advice: str = ""


class _Whoami(msgspec.Struct, frozen=True):
    project: str
    environment: str
    kind: str
    server_time: dt.datetime | None = None


def diagnose(
    url: str | None = None,
    api_key: str | None = None,
    *,
    config: str | Path | None = None,
    directory: str | Path | None = None,
    transport: Transport | None = None,
    status: Status | None = None,
) -> list[Finding]:
    """Look at settings, service, clock, key, snapshot and outbox.

    Args:
        url: as for `genux.Client`, and so are `api_key`, `config`, `directory` and `transport`.
        api_key: see above.
        config: see above.
        directory: see above.
        transport: see above.
        status: of a running client, `client.status()`, for what only its process knows.
    """
    options = resolve(url, api_key, config, directory, has_transport=transport is not None)
    findings = list(_settings(options))
    if options.directory is not None:
        findings += _service(transport or HttpTransport(options.url, _TIMEOUT_SECONDS), options.api_key)
        findings += _snapshot(options.directory)
        findings += _outbox(options.directory)
        findings += _stranded(options.directory)
    if status is not None:
        findings += _losses(status)
    return findings


def main() -> int:
    """Print what `diagnose` finds with the settings of the environment; 1 when something is not measured."""
    findings = diagnose()
    marks = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}
    for finding in findings:
        sys.stdout.write(f"{marks[finding.status]}  {finding.code}: {finding.message}\n")
        if finding.advice:
            sys.stdout.write(f"         -> {finding.advice}\n")
    return int(any(finding.status == "problem" for finding in findings))


def _settings(options: Options) -> Iterator[Finding]:
    if options.directory is None:
        advice = "set GENUX_URL and GENUX_API_KEY to send events to a service"
        yield Finding(code="local_mode", status="warning", message="no url: events go nowhere", advice=advice)
    else:
        yield Finding(code="url", status="ok", message=options.url or "a transport of the host's own")
        if not options.api_key:
            advice = "set GENUX_API_KEY to a server key of the project"
            yield Finding(code="no_key", status="problem", message="there is no API key", advice=advice)
    if options.config:
        from genux.config import load_config

        try:
            n_experiments = len(load_config(options.config).experiments)
            message = f"{options.config}: {n_experiments} experiments, assigned from instead of the service's"
            yield Finding(code="config", status="ok", message=message)
        except ConfigError as error:
            yield Finding(code="config", status="problem", message=str(error), advice="mend the file")
    for problem in options.problems:
        yield Finding(code="environment", status="warning", message=problem, advice="mend the variable")
    if options.forced:
        message = f"GENUX_FORCE gives everyone {options.forced}"
        advice = "forced exposures are left out of the analysis; unset it in production"
        yield Finding(code="forced", status="warning", message=message, advice=advice)


def _service(transport: Transport, api_key: str) -> Iterator[Finding]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = transport.send("GET", "/v1/whoami", b"", headers)
    except TransportError as error:
        advice = "is the service up, is GENUX_URL right, may this machine reach it? Events wait in the outbox"
        yield Finding(code="unreachable", status="problem", message=str(error), advice=advice)
        return
    yield from _clock(response)
    if response.status in {401, 403}:
        message = f"the service refuses the API key (HTTP {response.status})"
        advice = "copy a server key of this project and environment into GENUX_API_KEY; was it revoked?"
        yield Finding(code="key_refused", status="problem", message=message, advice=advice)
        return
    try:
        whoami = msgspec.json.decode(response.body, type=_Whoami)
    except msgspec.DecodeError:
        message = f"HTTP {response.status} to /v1/whoami is not a genux service's answer"
        advice = "GENUX_URL should be the service's own address, without a path unless it is mounted on one"
        yield Finding(code="wrong_url", status="problem", message=message, advice=advice)
        return
    where = f"{whoami.project}/{whoami.environment}"
    if whoami.kind == "server":
        yield Finding(code="key", status="ok", message=f"a server key of {where}")
    else:
        advice = "use a server key here: only those are handed the secrets that sign resume tokens"
        message = f"a {whoami.kind} key of {where}"
        yield Finding(code="key_kind", status="problem", message=message, advice=advice)


def _clock(response: Response) -> Iterator[Finding]:
    try:
        server_at = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return
    skew = (dt.datetime.now(dt.UTC) - server_at.astimezone(dt.UTC)).total_seconds()
    off = abs(skew)
    status: Literal["ok", "warning", "problem"] = "ok"
    if off > _SKEW_WARNING_SECONDS:
        status = "warning" if off <= _SKEW_PROBLEM_SECONDS else "problem"
    where = f"{_span(off)} {'ahead of' if skew > 0 else 'behind'}" if status != "ok" else "in step with"
    message = f"this clock is {where} the service's"
    yield Finding(code="clock", status=status, message=message, advice="" if status == "ok" else "set the clock by NTP")


def _snapshot(directory: Path) -> Iterator[Finding]:
    cached = read_cache(directory)
    if cached is None:
        advice = "it comes with the first client that reaches the service; until then everyone gets control"
        yield Finding(code="no_snapshot", status="warning", message="no snapshot on this machine yet", advice=advice)
        return
    age_seconds = max(0.0, time.time() - cached.fetched_at)
    compiled = compile_snapshot(cached.snapshot)
    old = age_seconds > _OLD_SNAPSHOT_SECONDS
    yield Finding(
        code="snapshot",
        status="warning" if old else "ok",
        message=f"version {compiled.version}, {len(compiled.experiments)} experiments, confirmed {_span(age_seconds)} ago",
        advice="no client has reached the service since; see above" if old else "",
    )
    for key, problem in compiled.problems.items():
        advice = "everyone gets control; mend the experiment, or upgrade genux"
        yield Finding(code="experiment", status="problem", message=f"`{key}`: {problem}", advice=advice)


def _outbox(directory: Path) -> Iterator[Finding]:
    nearest = nearest_folder(directory)
    if not os.access(nearest, os.W_OK):
        advice = "set GENUX_DIR to a folder that this user may write to"
        message = f"{directory} cannot be written: events are kept in memory only"
        yield Finding(code="outbox_unwritable", status="problem", message=message, advice=advice)
    kind = _EPHEMERAL.get(_filesystem(nearest), "")
    if not kind and nearest.is_relative_to(tempfile.gettempdir()):
        kind = "the folder for temporary files"
    if kind:
        advice = "set GENUX_DIR to a folder on a disk that outlives this machine's or container's restart"
        message = f"{directory} is on {kind}: a restart may lose what was not yet sent"
        yield Finding(code="outbox_ephemeral", status="warning", message=message, advice=advice)
    waiting = segment_names(directory)
    age_seconds = max(0.0, time.time() - _made_at(waiting[0])) if waiting else 0.0
    stuck = age_seconds > _OLD_BATCH_SECONDS
    message = f"{directory}: {_depth(directory, waiting)}"
    if waiting:
        message += f", the oldest {_span(age_seconds)} old"
    advice = "nothing has been sent since then; see above, or start an app that ships this outbox" if stuck else ""
    yield Finding(code="outbox", status="warning" if stuck else "ok", message=message, advice=advice)
    if parked := parked_names(directory):
        message = f"{_batches(len(parked))} that the service refused for good in {directory / PARKED}"
        if said := reason_parked(directory, parked[-1]):
            message += f"; to the last it said: {said}"
        advice = "upgrade service or SDK, then move them back one folder; or delete them"
        yield Finding(code="parked", status="problem", message=message, advice=advice)


def _stranded(directory: Path) -> Iterator[Finding]:
    """Outboxes of other urls and keys beside this one: a key that was rotated leaves its last events in one."""
    with contextlib.suppress(OSError):
        for other in sorted(directory.parent.iterdir()):
            waiting = segment_names(other)
            if other == directory or not waiting:
                continue
            age_seconds = max(0.0, time.time() - _made_at(waiting[0]))
            message = (
                f"{other}: {_depth(other, waiting)}, the oldest {_span(age_seconds)} old, "
                "recorded under another url or key; they wait for an app that uses those"
            )
            advice = (
                "was the key rotated? Run an app once with the old one while the service takes it; or, when both keys "
                f"are of the same project and environment, stop the apps that use the old one and move {other}/*.jsonl "
                f"to {directory}"
            )
            yield Finding(code="other_outbox", status="warning", message=message, advice=advice)


def _losses(status: Status) -> Iterator[Finding]:
    for code, counts, what in (
        ("dropped", status.dropped, "events dropped"),
        ("rejected", status.rejected, "events rejected by the service"),
        ("failures", status.failures, "faults inside genux"),
    ):
        told = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items()))
        advice = "the log of genux says what each was, once" if told else ""
        state: Literal["ok", "problem"] = "problem" if told else "ok"
        yield Finding(code=code, status=state, message=f"{what}: {told or 'none'}", advice=advice)


def _depth(directory: Path, waiting: list[str]) -> str:
    return f"{_batches(len(waiting))} waiting, {used_bytes(directory) / 1_024:,.0f} KiB of disk"


def _batches(n_batches: int) -> str:
    return "1 batch" if n_batches == 1 else f"{n_batches:,} batches"


def _span(seconds: float) -> str:
    """A time span in the unit that a person would use."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _made_at(name: str) -> float:
    """Unix time in a segment's UUIDv7 name, in seconds; now when the name is no such thing."""
    try:
        return int(name[:8] + name[9:13], 16) / 1_000
    except ValueError:
        return time.time()


def _filesystem(folder: Path) -> str:
    """Type of the file system that a folder is on; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    best, found = -1, ""
    resolved = folder.resolve()
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = Path(mount.split(" ")[4].replace("\\040", " "))
        if len(point.parts) >= best and resolved.is_relative_to(point):
            best, found = len(point.parts), rest.split(" ")[0]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
