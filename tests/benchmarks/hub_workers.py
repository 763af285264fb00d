"""What connected providers cost a hub: memory with hundreds of them, idle, and while all bring a picture at once.

The hub's part is a process of its own with its server and nothing else; the providers are connections of this one.
"""

import asyncio
import contextlib
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from chain.primitives.hub_messages import Assignment, Taken
from hub.workers.desk import Delivery
from tests.benchmarks.measuring import Table
from tests.hub.workers.rig import KeepingDesk, Peer, grant_to, joined, result_for, serving

PICTURE_BYTES = 300_000
_AT_ONCE = 50
_SETTLE_S = 3.0


class _Forgetful(KeepingDesk):
    """Takes results and keeps nothing of them."""

    async def delivered(self, delivery: Delivery) -> None:
        self.open.pop(delivery.lease_id, None)


def hub_workers(folder: Path, count: int) -> Table:
    """Memory and time with so many connected providers."""
    return asyncio.run(_measure(folder, count))


async def _measure(folder: Path, count: int) -> Table:
    words = [sys.executable, "-m", "tests.benchmarks.hub_workers", str(folder), str(count)]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        url = ""
        while not url.startswith("ws://"):  # Before it stands what the server logs.
            line = await child.stdout.readline()
            assert line, "the hub did not start"
            url = line.decode().strip()
        before_mib = _resident_mib(child.pid)
        started = time.perf_counter()
        async with AsyncExitStack() as stack:
            peers: list[Peer] = []
            for start in range(0, count, _AT_ONCE):
                numbers = range(start, min(count, start + _AT_ONCE))
                peers += await asyncio.gather(*(stack.enter_async_context(joined(url, number)) for number in numbers))
            joining_s = time.perf_counter() - started
            await asyncio.sleep(_SETTLE_S)
            idle_mib = _resident_mib(child.pid)
            child.stdin.write(b"\n")
            started = time.perf_counter()
            await asyncio.gather(*(_serve(peer) for peer in peers))
            serving_s = time.perf_counter() - started
            peak_mib = _resident_mib(child.pid, "VmHWM")
    finally:
        child.stdin.close()
        await child.wait()
    rows = (
        ("resident, nobody connected", f"{before_mib:.0f} MiB"),
        (f"resident, {count} connected", f"{idle_mib:.0f} MiB"),
        ("of that, for each", f"{(idle_mib - before_mib) * 1024 / count:.0f} KiB"),
        (f"peak while each brings {PICTURE_BYTES // 1000} kB at once", f"{peak_mib:.0f} MiB"),
        ("joined, signatures checked, each second", f"{count / joining_s:.0f}"),
        ("results taken, each second", f"{count / serving_s:.0f}"),
    )
    return Table(f"The hub with {count} connected providers", ("", ""), rows)


async def _serve(peer: Peer) -> None:
    assignment = await peer.expect(Assignment)
    picture = os.urandom(PICTURE_BYTES)
    await peer.send(result_for(peer.key, assignment, [picture]), [picture])
    await peer.expect(Taken)


def _resident_mib(process_id: int, field: str = "VmRSS") -> float:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {field} in /proc")


async def _hub(folder: Path, count: int) -> None:
    """The hub's process: gives everybody a picture to make once a line comes in, and ends with its input."""
    desk = _Forgetful()
    async with serving(folder, desk=desk, per_host=count + 1, sessions=count + 1) as hub:
        print(hub.url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        desk.waiting = [grant_to(number, f"lease-{number}") for number in range(count)]
        hub.workers.wake()
        with contextlib.suppress(OSError):
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_hub(Path(sys.argv[1]), int(sys.argv[2])))
