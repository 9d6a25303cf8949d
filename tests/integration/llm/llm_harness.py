"""Asks a bare and a measured client for the same thing and keeps everything that their callers can see."""

import asyncio
import contextlib
import gc
import inspect
import ssl

import openai
import pydantic
from openai import AsyncOpenAI

from genux.llm import wrap

TLS = ssl.create_default_context()


def connected(kind, **options):
    """A client as its constructor makes it, but for the 20 ms of a TLS context that loopback has no use for."""
    http = openai.DefaultAsyncHttpxClient if issubclass(kind, AsyncOpenAI) else openai.DefaultHttpxClient
    return kind(api_key="k", http_client=http(verify=TLS), **options)


async def settled(value):
    return await value if inspect.isawaitable(value) else value


@contextlib.asynccontextmanager
async def entered(manager):
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


async def each(items, seen, take=None):
    """Reads a sync or async iterable into `seen`, stopping after `take` items."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            seen.append(shown(item))
            if len(seen) == take:
                break
    else:
        for item in items:
            seen.append(shown(item))
            if len(seen) == take:
                break


def shown(item):
    """What a caller can see of an object: its type, every field, and which fields were set."""
    if isinstance(item, pydantic.BaseModel):
        return type(item).__qualname__, item.to_dict(exclude_unset=True, mode="json", warnings=False)
    return item


async def use(way, client):
    """What the caller sees of `way(client, seen)`: everything read, and the exception that ended it."""
    seen = []
    try:
        await way(client, seen)
    except openai.OpenAIError as error:
        return seen, (type(error), str(error), getattr(error, "status_code", None), type(error.__cause__))
    except Exception as error:  # noqa: BLE001 - whatever the bare client lets through, the measured one must too
        return seen, (type(error), str(error))
    return seen, None


def both(way, kind, scripted, outcome, recorder, **options):
    """Runs a way of asking with a bare and with a measured client.

    Returns:
        For each `(seen, error, requests)`, the requests as the server got them, but for the question for usage.
    """

    async def run():
        outcomes = []
        for measured in (False, True):
            client = connected(kind, base_url=scripted.url(outcome), max_retries=0, **options)
            if measured:
                assert wrap(client, recorder, provider="openai") is client
            began = len(scripted.requests)
            try:
                seen, error = await use(way, client)
            finally:
                await settled(client.close())
            outcomes.append((seen, error, [as_asked(*request) for request in scripted.requests[began:]]))
        return outcomes

    bare, measured = asyncio.run(run())
    gc.collect()
    return bare, measured


def as_asked(outcome, path, request):
    return outcome, path, {name: value for name, value in request.items() if name != "stream_options"}
