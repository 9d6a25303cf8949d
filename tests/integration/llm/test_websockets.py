"""Websocket surfaces pass through as they are, unmeasured, and that is said."""

import asyncio
import json
import logging

import pytest
import websockets.asyncio.server
from openai import AsyncAzureOpenAI, AsyncOpenAI, OpenAI

from genux import Client
from genux.llm import wrap


async def _echo(connection):
    await connection.send(json.dumps({"type": "session.created", "event_id": "1", "session": {}}))
    await connection.wait_closed()


def connected(client, surface, **options):
    async def run():
        async with websockets.asyncio.server.serve(_echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client.websocket_base_url = f"ws://127.0.0.1:{port}"
            async with surface(client).connect(**options) as connection:
                event = json.loads(await connection.recv_bytes())
            await client.close()
            return event

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("azure", "surface", "options"),
    [
        (False, "realtime", {"model": "gpt-realtime"}),
        (False, "responses", {}),
        (True, "realtime", {"model": "gpt-realtime"}),
    ],
)
def test_a_websocket_connects_as_without_us_and_is_reported(azure, surface, options, recorder):
    kind = AsyncAzureOpenAI if azure else AsyncOpenAI
    more = {"api_version": "2024-10-21", "azure_endpoint": "http://127.0.0.1:9"} if azure else {}
    client = wrap(kind(api_key="k", **more), recorder)
    assert connected(client, lambda each: getattr(each, surface), **options)["type"] == "session.created"
    assert {(where, error.code) for where, error in recorder.failures} == {("connect", "websocket_unmeasured")}
    assert recorder.calls == []


def test_it_is_said_once_and_counted_each_time(caplog, tmp_path):
    genux = Client(directory=tmp_path)
    with caplog.at_level(logging.WARNING, logger="genux"):
        for _ in range(3):
            client = genux.wrap(AsyncOpenAI(api_key="k"))
            connected(client, lambda each: each.realtime, model="gpt-realtime")
    assert [record.message for record in caplog.records if "websocket" in record.message] == [
        "connect: a websocket is not measured; ignored, and counted as `websocket_unmeasured`"
    ]
    assert genux.status().refused["websocket_unmeasured"] >= 3


def test_a_copy_and_the_attribute_itself_open_no_websocket(recorder):
    with wrap(OpenAI(api_key="k", websocket_base_url="ws://here"), recorder) as client:
        assert client.websocket_base_url == "ws://here"
        assert client.with_options(timeout=1).websocket_base_url == "ws://here"
        client.websocket_base_url = "ws://there"
        assert vars(client)["websocket_base_url"] == client.websocket_base_url == "ws://there"
    assert recorder.failures == []
