"""Group commit: everything that waits goes into one write, and nobody is told more than is true."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dmarcview_smtp.commit import Closed, GroupCommitter


def committer(write, **limits: int) -> GroupCommitter[int, int]:
    return GroupCommitter(write, **{"batch_items": 100, "batch_bytes": 1000, **limits}, name="test-commit")


def test_what_comes_during_a_write_shares_the_next_one() -> None:
    batches: list[list[int]] = []
    began, go = threading.Event(), threading.Event()

    def write(batch: list[int]) -> list[int]:
        batches.append(batch)
        began.set()
        go.wait(5)
        return [item * 2 for item in batch]

    async def main() -> list[int]:
        group = committer(write)
        tasks = [asyncio.create_task(group.put(0, 1))]
        assert await asyncio.to_thread(began.wait, 5)
        tasks += [asyncio.create_task(group.put(item, 1)) for item in range(1, 50)]
        await asyncio.sleep(0.01)
        go.set()
        results = await asyncio.gather(*tasks)
        group.close()
        return results

    assert asyncio.run(main()) == [item * 2 for item in range(50)]
    assert batches == [[0], list(range(1, 50))]


@pytest.mark.parametrize(("limits", "sizes"), [({"batch_items": 7}, 1), ({"batch_bytes": 70}, 10)])
def test_a_batch_has_limits_and_nothing_is_lost_at_them(limits: dict[str, int], sizes: int) -> None:
    batches: list[list[int]] = []

    def write(batch: list[int]) -> list[int]:
        batches.append(batch)
        return batch

    async def main() -> None:
        group = committer(write, **limits)
        assert await asyncio.gather(*(group.put(item, sizes) for item in range(100))) == list(range(100))
        assert await group.put(100, 10_000) == 100, "one larger than the limit goes alone"
        group.close()

    asyncio.run(main())
    assert max(map(len, batches)) <= 7
    assert [item for batch in batches for item in batch] == list(range(101))


def test_an_error_is_for_all_of_its_batch_and_for_no_other() -> None:
    fail = [True]

    def write(batch: list[int]) -> list[int]:
        if fail.pop() if fail else False:
            raise OSError(5, "Input/output error")
        return batch

    async def main() -> None:
        group = committer(write)
        with pytest.raises(OSError, match="Input/output"):
            await group.put(1, 1)
        assert await group.put(2, 1) == 2
        group.close()

    asyncio.run(main())


def test_close_writes_what_waits_and_takes_no_more() -> None:
    written: list[int] = []

    def write(batch: list[int]) -> list[int]:
        written.extend(batch)
        return batch

    async def main() -> None:
        group = committer(write)
        tasks = [asyncio.create_task(group.put(item, 1)) for item in range(30)]
        await asyncio.sleep(0)
        group.close()
        assert await asyncio.gather(*tasks) == list(range(30))
        group.close()
        with pytest.raises(Closed):
            await group.put(31, 1)

    asyncio.run(main())
    assert written == list(range(30))


def test_who_stops_waiting_does_not_stop_the_write() -> None:
    written: list[int] = []
    go = threading.Event()

    def write(batch: list[int]) -> list[int]:
        go.wait(5)
        written.extend(batch)
        return batch

    async def main() -> None:
        group = committer(write)
        task = asyncio.create_task(group.put(1, 1))
        await asyncio.sleep(0.01)
        task.cancel()
        go.set()
        assert await group.put(2, 1) == 2
        group.close()

    asyncio.run(main())
    assert written == [1, 2]


def test_patient_items_wait_for_one_in_a_hurry_and_then_no_longer() -> None:
    batches: list[list[int]] = []

    def write(batch: list[int]) -> list[int]:
        batches.append(batch)
        return batch

    async def main() -> None:
        group: GroupCommitter[int, int] = GroupCommitter(
            write, batch_items=100, batch_bytes=1000, name="test-commit", patience=60.0
        )
        patient = [asyncio.create_task(group.put(item, 1, patient=True)) for item in range(3)]
        await asyncio.sleep(0.05)
        assert not batches
        assert await group.put(3, 1) == 3
        assert await asyncio.gather(*patient) == [0, 1, 2]
        group.close()

    asyncio.run(main())
    assert batches == [[0, 1, 2, 3]]


def test_patience_ends_and_so_does_a_close() -> None:
    async def main(patience: float, *, close: bool) -> int:
        group: GroupCommitter[int, int] = GroupCommitter(
            lambda batch: batch, batch_items=100, batch_bytes=1000, name="test-commit", patience=patience
        )
        task = asyncio.create_task(group.put(7, 1, patient=True))
        await asyncio.sleep(0.05)
        if close:
            await asyncio.to_thread(group.close)
        async with asyncio.timeout(20):
            result = await task
        group.close()
        return result

    assert asyncio.run(main(0.01, close=False)) == 7
    assert asyncio.run(main(600.0, close=True)) == 7
