# ruff: noqa: ANN001, ANN202
"""The experiment that every SDK is given, and the shape in which it hands its assignment over to be timed."""

from dataclasses import dataclass

KEY = "ai-entry"
VARIANTS = ["chat", "summary", "inline"]
COUNTRIES = ["KR", "NO", "SE"]
NONE = "none"
N_EXPOSURES = 4_000


def nothing():
    """There is nothing to flush."""


@dataclass
class Subject:
    name: str
    make: object
    assign: object
    flush: object = nothing
    settle_seconds: float = 0.0
    loop: object = None

    def run(self, make, users):
        """The keys of the variants, one a user."""
        if self.loop is None:
            return [self.assign(make(user)) for user in users]

        async def each():
            return [await self.assign(make(user)) for user in users]

        return self.loop.run_until_complete(each())


def attributes(country):
    return {"country": country, "plan": "pro"}
