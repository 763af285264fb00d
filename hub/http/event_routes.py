"""A job's events as server-sent events: whoever reconnects with Last-Event-ID misses none."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from chain.web.application import create_router
from hub.http.following import follow
from hub.http.guard import Reader, at_once
from hub.http.job_routes import own_job
from hub.http.parts import HubParts
from hub.http.streams import Streams
from hub.jobs.live import Glimpse
from hub.store.events import Event

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_NUMBER: Final = r"^[0-9]{1,15}$"


def event_routes(parts: HubParts) -> APIRouter:
    """Under /v1/jobs."""
    router = create_router(prefix="/v1/jobs", tag="jobs")

    @router.get(
        "/{job_id}/events",
        summary="What happens to a job, until its end",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def get_events(
        job_id: str,
        reader: Annotated[Reader, Depends(at_once(parts.guard.reader_of))],
        last_event_id: Annotated[str | None, Header(pattern=_NUMBER)] = None,
        after: Annotated[str | None, Query(pattern=_NUMBER, description="As Last-Event-ID.")] = None,
    ) -> StreamingResponse:
        job = await own_job(parts, job_id, reader)
        parts.streams.check(job.owner)
        start = int(last_event_id or after or 0)
        return _Stream(parts.streams, job.owner, _stream(parts, job_id, start))

    return router


class _Stream(StreamingResponse):
    """Counted from its first byte to its last, however it ends."""

    def __init__(self, streams: Streams, owner: str, content: AsyncIterator[str]) -> None:
        super().__init__(content, media_type="text/event-stream", headers=_HEADERS)
        self._streams = streams
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.open(self._owner):
            await super().__call__(scope, receive, send)


async def _stream(parts: HubParts, job_id: str, after: int) -> AsyncIterator[str]:
    async with aclosing(follow(parts, job_id, after)) as news:
        async for item in news:
            yield ": still here\n\n" if item is None else as_text(item)


def as_text(item: Event | Glimpse) -> str:
    """One server-sent event; only what can be asked for again has a number."""
    fields = as_object(item)
    number = f"id: {item.sequence}\n" if isinstance(item, Event) else ""
    return f"{number}event: {fields['kind']}\ndata: {json.dumps(fields)}\n\n"


def as_object(item: Event | Glimpse) -> dict[str, Any]:
    """The same as JSON for a WebSocket."""
    if isinstance(item, Event):
        return {"sequence": item.sequence, "kind": item.kind, "at_ms": item.at_ms, **item.data}
    fields: dict[str, Any] = {"kind": "preview" if item.preview else "step", **item.to_object()}
    if item.preview is not None:
        fields["preview_base64"] = "data:image/jpeg;base64," + base64.b64encode(item.preview).decode()
    return fields
