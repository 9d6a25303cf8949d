# Run in an environment that holds this SDK; most of its kind publish no types.
# ruff: noqa: ANN001, ANN201, ANN202
"""Three ways: an instance for all, one for each request as its README wants, and the shared async client."""

import asyncio
from importlib.metadata import version

from _subject import COUNTRIES, KEY, NONE, VARIANTS, Subject
from growthbook import GrowthBook, GrowthBookClient, Options, UserContext
from growthbook.plugins import growthbook_tracking_plugin


def subjects(url):
    rule = {
        "id": "1",
        "key": KEY,
        "condition": {"country": {"$in": COUNTRIES}},
        "variations": VARIANTS,
        "weights": [0.3334, 0.3333, 0.3333],
        "meta": [{"key": v} for v in VARIANTS],
        "coverage": 1,
        "hashAttribute": "id",
        "hashVersion": 2,
        "seed": KEY,
    }
    features = {KEY: {"defaultValue": NONE, "rules": [rule]}}
    name = f"growthbook {version('growthbook')}"
    loop = asyncio.new_event_loop()
    plugins = [growthbook_tracking_plugin(ingestor_host=url)] if url else []
    client = GrowthBookClient(Options(client_key="sdk-1" if url else None, tracking_plugins=plugins))
    loop.run_until_complete(client.set_features(features))
    shared = Subject(
        f"{name}, one async client",
        lambda user: UserContext(attributes={"id": user[0], **user[1]}),
        lambda user: client.get_feature_value(KEY, NONE, user),
        lambda: loop.run_until_complete(client.close()),
        loop=loop,
    )
    if url:
        return [shared]
    instance = GrowthBook(features=features)

    def reused(user):
        instance.set_attributes(user)
        return instance.get_feature_value(KEY, NONE)

    def fresh(user):
        own = GrowthBook(attributes=user, features=features)
        value = own.get_feature_value(KEY, NONE)
        own.destroy()
        return value

    def merged(user):
        return {"id": user[0], **user[1]}

    return [
        Subject(f"{name}, one instance", merged, reused),
        shared,
        Subject(f"{name}, instance a request", merged, fresh),
    ]
