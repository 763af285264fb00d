"""When a hub is dialled again: ever later, never in step with others, at most after a minute."""

import asyncio
import time
from itertools import pairwise
from pathlib import Path

from provider.hub_link.backoff import FIRST_S, LONGEST_S, STEADY_S, Backoff
from tests.hub.workers.rig import until
from tests.provider.hub_link.rig import linked


def test_pauses_double_up_to_a_minute() -> None:
    backoff = Backoff()
    bounds = [min(FIRST_S * 2**attempt, LONGEST_S) for attempt in range(10)]
    for longest_s, pause_s in zip(bounds, [backoff.pause_s(0) for _ in bounds], strict=True):
        assert longest_s / 2 <= pause_s <= longest_s
    assert bounds[-1] == LONGEST_S


def test_providers_that_lost_a_hub_together_come_back_apart() -> None:
    assert len({Backoff().pause_s(0) for _ in range(100)}) == 100


def test_only_a_connection_that_lasted_makes_it_quick_again() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.pause_s(STEADY_S / 2)
    assert backoff.pause_s(STEADY_S / 2) >= LONGEST_S / 2
    assert backoff.pause_s(STEADY_S + 1) <= FIRST_S


async def test_a_hub_that_hangs_up_is_dialled_ever_more_slowly(tmp_path: Path) -> None:
    dialled_s: list[float] = []

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled_s.append(time.monotonic())
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, linked(tmp_path, f"ws://127.0.0.1:{port}"):
        await until(lambda: len(dialled_s) == 4)
    pauses = [later - earlier for earlier, later in pairwise(dialled_s)]
    assert [pause > FIRST_S * 2**attempt / 2 for attempt, pause in enumerate(pauses)] == [True, True, True]
