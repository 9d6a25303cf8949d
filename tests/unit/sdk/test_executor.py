"""Which threads know the unit that they work for."""

import asyncio
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

import genux
from genux.errors import UsageError


def units(service):
    return [(event.name, event.unit_id) for event in service.events]


def test_a_pool_made_to_carry_takes_each_submitters_unit_along(gx, service):
    with genux.executor(ThreadPoolExecutor(2)) as pool:
        with gx.unit("user-1"):
            list(pool.map(gx.track, ["mapped"] * 2))
        with gx.unit("user-2"):
            later = pool.submit(gx.track, "submitted", 2.0, page="home")
        later.result()
    assert gx.flush()
    assert units(service) == [("mapped", "user-1")] * 2 + [("submitted", "user-2")]
    assert (service.events[2].value, service.events[2].properties) == (2.0, {"page": "home"})


def test_a_carrying_pool_is_the_pool_it_was(gx):
    class Counting(ThreadPoolExecutor):
        submitted = 0

        def submit(self, function, /, *args, **kwargs):
            self.submitted += 1
            return super().submit(function, *args, **kwargs)

    pool = Counting(1)
    assert gx.executor(gx.executor(pool)) is pool
    assert isinstance(pool, Counting)
    assert pool.submit(pow, 2, 3).result() == 8
    assert pool.submitted == 1
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()
    pool.shutdown()


def test_what_is_no_thread_pool_stays_as_it_is_and_is_counted(gx):
    pool = ProcessPoolExecutor(1)
    assert gx.executor(pool) is pool
    assert type(pool) is ProcessPoolExecutor
    assert gx.status().refused == {"bad_executor": 1}
    with pytest.raises(UsageError, match="ProcessPoolExecutor"):
        genux.Client(strict=True).executor(pool)
    pool.shutdown()


def test_asyncio_carries_by_to_thread_and_tasks_but_by_run_in_executor_only_into_a_carrying_pool(gx, service):
    async def main():
        loop = asyncio.get_running_loop()
        with gx.unit("user-1"):
            await asyncio.to_thread(gx.track, "to_thread")
            await loop.run_in_executor(None, gx.track, "lost")
            loop.set_default_executor(genux.executor(ThreadPoolExecutor(1)))
            await loop.run_in_executor(None, gx.track, "default_executor")
            task = asyncio.create_task(tracked("task"))
        await task

    async def tracked(name):
        gx.track(name)

    asyncio.run(main())
    assert gx.flush()
    assert units(service) == [("to_thread", "user-1"), ("default_executor", "user-1"), ("task", "user-1")]
    assert gx.status().dropped == {"no_unit": 1}
