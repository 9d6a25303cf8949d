"""pytest: fixtures and a marker for the tests of apps that use genux. pytest finds this module by itself.

```python
@pytest.mark.genux({"ai-entry": "summary"})
def test_the_summary_button(client, genux_recording):
    client.post("/articles/1/accept")
    assert [event.name for event in genux_recording.tracks] == ["answer_accepted"]
```

genux itself is imported by the first test that asks for any of this.
"""

import datetime as dt
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from genux.testing import FrozenClock, InProcessService, Recording

__all__ = ["genux_clock", "genux_force", "genux_recording", "genux_service"]


def pytest_configure(config: pytest.Config) -> None:
    """Explain the marker, for `--markers` and `--strict-markers`."""
    config.addinivalue_line(
        "markers",
        'genux({"experiment": "variant"}, experiment="variant"): every unit gets these variants in this test, '
        "its fixtures included",
    )


_forced: pytest.StashKey[ExitStack] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Force what the markers of a test say: those of its class and module too, the closest one last."""
    markers = list(item.iter_markers("genux"))
    if markers:
        from genux import testing

        item.stash[_forced] = stack = ExitStack()
        for marker in reversed(markers):
            stack.enter_context(testing.force(*marker.args, **marker.kwargs))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """End it when the last fixture is gone. A variant that does not exist is an error of the test's teardown."""
    with item.stash.get(_forced, ExitStack()):
        yield


@pytest.fixture
def genux_force() -> Generator[Callable[..., None]]:
    """`genux_force({"ai-entry": "summary"})`: every unit gets these variants until the test is over."""
    from genux import testing

    with ExitStack() as stack:

        def force(variants: Mapping[str, str] | None = None, /, **by_name: str) -> None:
            stack.enter_context(testing.force(variants, **by_name))

        yield force


@pytest.fixture
def genux_recording() -> "Generator[Recording]":
    """What genux records during the test: `.exposures`, `.tracks`, `.calls`, `.aliases`, or all `.events`."""
    from genux import testing

    with testing.recording() as seen:
        yield seen


@pytest.fixture
def genux_clock() -> "Generator[FrozenClock]":
    """Time stands still at the test's beginning; `.advance(seconds)` moves it."""
    from genux import testing

    with testing.frozen_clock(dt.datetime.now(dt.UTC)) as clock:
        yield clock


@pytest.fixture
def genux_service(tmp_path: Path) -> "Generator[InProcessService]":
    """A genux service of the test's own, in this process; the test is skipped where `genux[server]` is missing."""
    from genux import testing
    from genux.errors import ConfigError

    with ExitStack() as stack:
        try:
            service = stack.enter_context(testing.in_process_service(tmp_path / "genux-service"))
        except ConfigError as error:
            pytest.skip(str(error))
        yield service
