"""Says what is wrong between this machine and the service, and how to mend it.

`python -m genux.doctor`, or `genux doctor` where the server package is installed.
"""

import datetime as dt
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import msgspec

from genux._finding import Finding, counts_text, span_text
from genux._options import Options, resolve
from genux._outbox_check import check_outbox, check_stranded
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
        findings += check_outbox(options.directory)
        findings += check_stranded(options.directory)
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
    where = f"{span_text(off)} {'ahead of' if skew > 0 else 'behind'}" if status != "ok" else "in step with"
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
        message=f"version {compiled.version}, {len(compiled.experiments)} experiments, {span_text(age_seconds)} old",
        advice="no client has reached the service since; see above" if old else "",
    )
    for key, problem in compiled.problems.items():
        advice = "everyone gets control; mend the experiment, or upgrade genux"
        yield Finding(code="experiment", status="problem", message=f"`{key}`: {problem}", advice=advice)


def _losses(status: Status) -> Iterator[Finding]:
    for code, counts, what in (
        ("dropped", status.dropped, "events dropped"),
        ("rejected", status.rejected, "events rejected by the service"),
        ("failures", status.failures, "faults inside genux"),
    ):
        told = counts_text(counts)
        advice = "the log of genux says what each was, once" if told else ""
        state: Literal["ok", "problem"] = "problem" if told else "ok"
        yield Finding(code=code, status=state, message=f"{what}: {told or 'none'}", advice=advice)


if __name__ == "__main__":
    raise SystemExit(main())
