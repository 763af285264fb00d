"""A request waits for its job, and the job learns when nobody waits any more."""

import asyncio
from typing import Annotated, Final

from fastapi import Header, Request

from provider.jobs.answers import FinishedAnswer
from provider.jobs.running import RunningJob

_DISCONNECT_POLL_S: Final = 0.5

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="The same key with the same body gets the same answer, drawn and charged once; with another body, "
        "409. A job with such a key goes on when its client hangs up.",
    ),
]


async def answer_of(job: RunningJob, request: Request) -> FinishedAnswer:
    """The job's answer; raises the ProviderError that it ended with.

    A client that hangs up leaves the job, which ends it unless it can be asked for again.
    """
    try:
        while not await job.wait(_DISCONNECT_POLL_S):
            if await request.is_disconnected():
                job.leave()
    except asyncio.CancelledError:
        job.leave()
        raise
    return await job.result()
