"""Background loops: one that fails is told of and begun anew, beside the others, until the hub ends."""

import asyncio

from hub.loops import Loops


async def test_a_loop_that_fails_is_begun_anew_and_said_to_fail() -> None:
    begun, is_steady = 0, asyncio.Event()

    async def breaks() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise OSError("the disk is full")
        is_steady.set()
        await asyncio.Event().wait()

    async def runs() -> None:
        await asyncio.Event().wait()

    loops = Loops({"breaks": breaks, "runs": runs})
    assert loops.fault() is None
    async with loops.running():
        async with asyncio.timeout(60):
            await is_steady.wait()
        fault = loops.fault()
        assert fault is not None
        assert "breaks" in fault
        assert "runs" not in fault
    assert begun == 2


async def test_all_end_with_the_hub() -> None:
    ended: list[str] = []

    async def runs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("runs")

    loops = Loops({"runs": runs})
    async with loops.running():
        await asyncio.sleep(0)
    assert ended == ["runs"]
    assert loops.fault() is None
