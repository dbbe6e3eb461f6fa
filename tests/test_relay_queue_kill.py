"""Nothing that the queue answered for is lost or done twice when its process is killed at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from dmarcview_relay.queue import Queue
from dmarcview_relay.queue_schema import INLINE_BYTES
from dmarcview_relay.sentlog import SentLog

KILLS = int(os.environ.get("QUEUE_KILLS", "120"))
ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_every_put_that_answered_is_there_after_a_hundred_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("QUEUE_SEED", time.time_ns() % 1_000_000))
    rng = random.Random(seed)
    folder, log = tmp_path / "relay", tmp_path / "answered"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    nursery = subprocess.Popen(
        [sys.executable, "-m", "tests.queue_nursery", str(folder), str(log)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=path,
    )  # fmt: skip
    assert nursery.stdin
    assert nursery.stdout
    child = 0
    try:
        for _ in range(KILLS):
            nursery.stdin.write(f"{rng.randrange(1_000_000)}\n")
            nursery.stdin.flush()
            child = int(nursery.stdout.readline())
            time.sleep(rng.uniform(0.0, 0.15))
            os.kill(child, signal.SIGKILL)
            while Path(f"/proc/{child}").exists():
                time.sleep(0.002)
            child = 0
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        nursery.communicate(timeout=60)
    said: dict[str, dict[str, int]] = defaultdict(dict)
    for line in log.read_text().splitlines():
        word, name, *more = line.split()
        said[word][name] = int(more[0]) if more else 0
    queue = Queue(folder, reserve=0)
    found = {each.id: each for each in queue.waiting()}
    lost = [name for name in said["put"] if name not in found and name not in said["ending"]]
    assert not lost, f"seed {seed}: {len(lost)} lost"
    bounced = Counter(each.mail.message_id for each in found.values() if each.mail.sender is None)
    sent = SentLog(folder)
    rows = Counter((row.queue_id, row.recipient) for _, row in sent.pending(10_000_000))
    sent.close()
    assert set(rows.values()) <= {1}, f"seed {seed}: a result was written twice"
    for name, bounces in said["settled"].items():
        assert name not in found, f"seed {seed}"
        assert bounced[f"<{name}@bounce.test>"] == bounces, f"seed {seed}"
        assert (name, "b@example.net") in rows, f"seed {seed}"
    for name in said["deferred"]:
        (ticket,) = found[name].tickets
        assert (ticket.tries, ticket.recipient.address.local) == (1, "b"), f"seed {seed}"
    for each in found.values():  # all of a settlement or nothing of it
        assert len(each.tickets) == (1 if (each.id, "a@example.net") in rows or each.mail.sender is None else 2)

    async def check() -> None:
        for name, each in found.items():
            content = await queue.content(each)
            assert len(content) == each.mail.size
            if name in said["put"]:
                assert zlib.crc32(content) == said["put"][name], f"seed {seed}"

    asyncio.run(check())
    large = {each.id for each in found.values() if each.mail.size > INLINE_BYTES}
    assert large
    assert {each.name for each in (folder / "bodies").iterdir()} == large, f"seed {seed}"
    assert list((folder / "tmp").iterdir()) == []
    queue.close()
    with capsys.disabled():
        print(f"\n{KILLS} kills, {len(said['put'])} puts and {len(said['settled'])} settlements answered, "
              f"{len(found)} mails left")  # fmt: skip
