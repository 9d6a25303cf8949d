# Run in an environment that holds this SDK; most of its kind publish no types.
# ruff: noqa: ANN001, ANN201, ANN202
"""A hash of salt and unit, cut in three: no exclusions, no reason, no answer object."""

from hashlib import blake2b
from importlib.metadata import version

import mmh3
from _subject import COUNTRIES, KEY, NONE, VARIANTS, Subject


def subjects(_url):
    third = 2**32 // 3
    start = blake2b(f"{KEY}:".encode(), digest_size=4).copy

    def murmur(user):
        if user[1]["country"] not in COUNTRIES:
            return NONE
        return VARIANTS[min(2, mmh3.hash(f"{KEY}:{user[0]}", signed=False) // third)]

    def blake(user):
        if user[1]["country"] not in COUNTRIES:
            return NONE
        digest = start()
        digest.update(user[0].encode())
        return VARIANTS[min(2, int.from_bytes(digest.digest(), "big") // third)]

    return [
        Subject(f"by hand: mmh3 {version('mmh3')}, three cuts", tuple, murmur),
        Subject("by hand: blake2b, three cuts", tuple, blake),
    ]
