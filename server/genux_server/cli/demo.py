"""`genux demo`: the Ask-AI-or-Summary experiment, end to end, on this machine."""

import contextlib
import datetime as dt
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genux_server.cli.terminal import print_report
from genux_server.demo.visitors import (
    BASE_ACCEPTED,
    EXPERIMENT_KEY,
    MAX_EFFECT,
    experiment_spec,
    metric_specs,
    visits,
)
from genux_server.model import Report

if TYPE_CHECKING:
    import openai

    from genux_server.demo.stage import Service

__all__ = ["demo"]

_LOCAL_MODEL = "gpt-5-mini"
_VISITORS, _VISITORS_REAL_MODEL = 2_000, 60
_THREADS = 16


@click.command()
@click.option("--visitors", type=click.IntRange(20, 1_000_000), help=f"Default: {_VISITORS}; with a real model 60.")
@click.option("--seed", default=1, show_default=True, help="Of the visitors' dice.")
@click.option(
    "--effect",
    default=0.08,
    show_default=True,
    type=click.FloatRange(-BASE_ACCEPTED, MAX_EFFECT),
    help="Planted effect of the button on the share of visitors who accept an answer.",
)
@click.option("--aa", is_flag=True, help="Show both groups the same chat box: there is nothing to find.")
@click.option("--port", default=0, help="Of the page; 0 picks a free one.", show_default=True)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep the data here; default: nowhere.")
@click.option("--model", default=_LOCAL_MODEL, show_default=True, help="With a real model: its name.")
@click.option("--stay/--no-stay", default=None, help="Keep the page open until Ctrl-C; default: in a terminal.")
def demo(
    visitors: int | None,
    seed: int,
    effect: float,
    port: int,
    data: Path | None,
    model: str,
    *,
    aa: bool,
    stay: bool | None,
) -> None:
    """Play an experiment: should people meet an empty chat box, or a Summary button?

    Visitors are simulated. Their calls to the model are real HTTP calls of the openai client, measured by genux, to a
    local server that summarises real articles; with OPENAI_API_KEY (and OPENAI_BASE_URL) set, to a real model.
    """
    from genux_server.demo.stage import running_service

    console = Console()
    is_real = "OPENAI_API_KEY" in os.environ
    n = visitors or (_VISITORS_REAL_MODEL if is_real else _VISITORS)
    effect = 0.0 if aa else effect
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(_temporary_folder()))
        console.print(f"Starting the service and {'your model' if is_real else 'a local model server'} ...")
        service = stack.enter_context(running_service(folder, port=port))
        llm = stack.enter_context(_model_client())
        service.start_experiment(experiment_spec(effect=effect, aa=aa, model=model, visitors=n), metric_specs())
        started = time.monotonic()
        n_calls = _play(console, service, llm, folder, n=n, seed=seed, effect=effect)
        seconds = time.monotonic() - started
        answer = service.request("GET", f"/v1/experiments/{EXPERIMENT_KEY}/report?refresh=1")
        report = msgspec.convert(answer, Report)
        console.print()
        print_report(report, console)
        _explain(console, report, service, n_calls=n_calls, seconds=seconds, effect=effect)
        if stay if stay is not None else sys.stdout.isatty():
            _wait_for_interrupt(console)


@contextlib.contextmanager
def _temporary_folder() -> Generator[str]:
    folder = tempfile.mkdtemp(prefix="genux-demo-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _model_client() -> "Generator[openai.OpenAI]":
    import openai

    if "OPENAI_API_KEY" in os.environ:
        with openai.OpenAI() as client:
            yield client
        return
    from genux_server.demo.model_server import ModelServerConfig
    from genux_server.demo.stage import running_model

    # Four times as fast as a hosted model, so that nobody waits; now and then it refuses or breaks, as those do.
    config = ModelServerConfig(slowness=0.25, rate_limit_share=0.01, retry_after_seconds=0.2, server_error_share=0.005)
    with running_model(config) as url, openai.OpenAI(base_url=url, api_key="local-stand-in") as client:
        yield client


def _play(
    console: Console, service: "Service", llm: "openai.OpenAI", folder: Path, *, n: int, seed: int, effect: float
) -> int:
    """Plays the visitors; the number of calls to the model."""
    import genux
    from genux_server.demo.corpus import articles
    from genux_server.demo.play import Feature, play

    gx = genux.Client(service.url, service.server_key, directory=folder / "outbox", strict=True)
    if not gx.ready(30):
        raise click.ClickException("The service gave no snapshot in 30 seconds; its log is in the data folder.")
    feature = Feature(gx, gx.wrap(llm), tuple(article.text for article in articles()))
    n_calls = 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("Visitors", total=n)

        def progress(called: bool) -> None:  # noqa: FBT001  the shape that `play` calls
            nonlocal n_calls
            n_calls += called
            bar.advance(task)

        play(
            feature,
            visits(n, seed, now=dt.datetime.now(dt.UTC)),
            {"ask-ai": BASE_ACCEPTED, "summary": BASE_ACCEPTED + effect},
            threads=_THREADS,
            progress=progress,
        )
    if not gx.flush(60):
        console.print("[yellow]Some events have not arrived yet; the report counts those that have.[/]")
    gx.close()
    return n_calls


def _explain(
    console: Console, report: Report, service: "Service", *, n_calls: int, seconds: float, effect: float
) -> None:
    primary = report.metric("accepted")
    comparison = next((c for c in primary.comparisons if c.effect is not None), None)
    found = (
        "the estimate is not computable yet"
        if comparison is None or comparison.effect is None
        else f"the estimate is {100 * comparison.effect:+.1f} points"
    )
    console.print(
        f"\n[bold]What to look at[/]\n"
        f"• Planted in the simulated visitors: {100 * effect:+.1f} points; {found}.\n"
        "• The funnel: where a blank page loses people, and a button does not.\n"
        f"• {n_calls:,} calls to the model were really made, in {seconds:.0f} s. Each is joined to its variant, its "
        "cost and what the visitor did next.\n"
        f"• The page: [link]{service.url}/experiments/{EXPERIMENT_KEY}[/]\n"
        f"  sign in as {service.admin_email} with {service.admin_password}"
    )


def _wait_for_interrupt(console: Console) -> None:
    console.print("\nThe page stays up until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3_600)
