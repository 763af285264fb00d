"""An application's own routes: health and metrics."""

import asyncio
import threading

import httpx
from prometheus_client import CollectorRegistry, Gauge

from chain.web.application import create_application


async def test_metrics_that_block_hold_up_nobody() -> None:
    registry = CollectorRegistry()
    is_read, may_go_on = threading.Event(), threading.Event()

    def read() -> float:
        is_read.set()
        assert may_go_on.wait(60)
        return 7.0

    Gauge("slow_figure", "It waits for a disk.", registry=registry).set_function(read)
    application = create_application(
        title="test", version="1", description="test", registry=registry, metrics_may_block=True
    )
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(20)]
        assert await asyncio.to_thread(is_read.wait, 60)
        assert (await client.get("/healthz")).status_code == 200
        assert not any(scrape.done() for scrape in scrapes)
        # One thread is held up by all of them: others are left for whoever else needs one.
        assert await asyncio.gather(*(asyncio.to_thread(abs, -number) for number in range(20))) == list(range(20))
        may_go_on.set()
        for scrape in scrapes:
            assert "slow_figure 7.0" in (await scrape).text
