"""`genux report KEY`: the service's report in the terminal."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import click
import msgspec

from genux.errors import ServiceError, TransportError
from genux_server.cli.options import FORMATS, write_report
from genux_server.model import Report

__all__ = ["report"]


@click.command()
@click.argument("key")
@click.option("--url", default=lambda: os.environ.get("GENUX_URL", "http://127.0.0.1:8321"), help="Default: GENUX_URL.")
@click.option("--api-key", default=lambda: os.environ.get("GENUX_API_KEY", ""), help="Default: GENUX_API_KEY.")
@click.option("--refresh", is_flag=True, help="Recompute from the lake as it is now.")
@click.option("--format", "fmt", type=click.Choice(FORMATS), default="text", show_default=True)
def report(key: str, url: str, api_key: str, fmt: str, *, refresh: bool) -> None:
    """Print the report of experiment KEY."""
    query = "?refresh=1" if refresh else ""
    data = get_json(f"{url.rstrip('/')}/v1/experiments/{urllib.parse.quote(key, safe='')}/report{query}", api_key)
    write_report(msgspec.convert(data, Report), fmt)


def get_json(url: str, api_key: str) -> Any:
    """GETs JSON from the service.

    Raises:
        ServiceError: the service said no; the message is its own sentence.
        TransportError: there is no service at `url`.
    """
    if not url.startswith(("http://", "https://")):
        raise TransportError(f"{url!r} is not an http address. Set GENUX_URL, or pass --url.")
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {api_key}"})  # noqa: S310  checked above
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310  checked above
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
        try:
            problem = json.loads(body)
            code, detail = problem.get("code", "error"), problem.get("detail") or problem.get("title") or ""
        except (ValueError, AttributeError):
            code, detail = "error", body[:200].decode("utf-8", "replace")
        raise ServiceError(code, f"The service answered {error.code}: {detail}", error.code) from None
    except (OSError, ValueError) as error:
        raise TransportError(f"No genux service answers at {url}: {error}. Is `genux serve` running?") from None
