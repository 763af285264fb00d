"""A job as server-sent events, as OpenAI's SDKs read them: partial pictures while it is drawn, then the finished."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from provider.errors import ProviderError
from provider.http.job_details import JobDetails
from provider.http.openai.errors import error_object
from provider.http.openai.schemas import GenerationRequest
from provider.http.problems import problem_of
from provider.jobs.answers import FinishedAnswer
from provider.jobs.running import Failed, Finished, JobEvent, Previewed, RunningJob

KEEP_ALIVE_S: Final = 15.0
"""A comment after so much silence: proxies close connections on which nothing moves, and a queue may be long."""

_NO_USAGE: Final[dict[str, Any]] = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""The SDK's type demands a count of tokens, which nobody is charged for here: the receipt says what was."""


@dataclass(frozen=True)
class Stream:
    """What turns one job's events into lines; `kind` is `image_generation` or `image_edit`."""

    kind: str
    asked: GenerationRequest
    created_at_s: int

    async def lines(self, running: RunningJob) -> AsyncIterator[bytes]:
        """The body of the response; a client that goes before the end leaves its job."""
        partials: dict[int, int] = {}
        try:
            async with aclosing(_with_pauses(running.events())) as events:
                async for event in events:
                    for line in self._lines_of(event, partials):
                        yield line
        finally:
            if not running.is_ended:
                running.leave()

    def _lines_of(self, event: JobEvent | None, partials: dict[int, int]) -> list[bytes]:
        """What one event is told as; `partials` counts what was sent of each picture."""
        if event is None:
            return [b": waiting\n\n"]
        if isinstance(event, Previewed):
            sent = partials.get(event.picture, 0)
            if sent >= (self.asked.partial_images or 0):
                return []
            partials[event.picture] = sent + 1
            return [self._partial(event, sent)]
        if isinstance(event, Finished):
            return self._completed(event.answer)
        return [_failed(event.error)] if isinstance(event, Failed) else []

    def _partial(self, event: Previewed, number: int) -> bytes:
        fields = {"b64_json": _base64(event.jpeg), "output_format": "jpeg", "partial_image_index": number}
        return self._event("partial_image", {**fields, "image_index": event.picture})

    def _completed(self, answer: FinishedAnswer) -> list[bytes]:
        last = len(answer.pictures) - 1
        lines = []
        for index, picture in enumerate(answer.pictures):
            fields = {"b64_json": _base64(picture), "output_format": answer.format, "usage": _NO_USAGE}
            if index == last:
                fields["aitbc"] = JobDetails.of(answer).model_dump()
            lines.append(self._event("completed", {**fields, "image_index": index}))
        return lines

    def _event(self, name: str, fields: dict[str, Any]) -> bytes:
        width, height = self.asked.width_and_height
        kind = f"{self.kind}.{name}"
        common = {
            "type": kind,
            "created_at": self.created_at_s,
            "size": f"{width}x{height}",
            "quality": self.asked.reported_quality or "auto",
            "background": "opaque",
        }
        return _line(kind, {**common, **fields})


def preview_interval_steps(asked: GenerationRequest) -> int:
    """Steps between two previews, so that the partial pictures are spread over the run; 0 for none."""
    wanted = asked.partial_images or 0
    return max(1, asked.step_count // (wanted + 1)) if wanted else 0


async def _with_pauses(events: AsyncIterator[JobEvent]) -> AsyncGenerator[JobEvent | None, None]:
    """The events, and None whenever there was none for a while."""
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait([following], timeout=KEEP_ALIVE_S)
            if not done:
                yield None
                continue
            event = following.result()
            if event is None:
                return
            yield event
            following = asyncio.ensure_future(anext(events, None))
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def _failed(error: ProviderError) -> bytes:
    return _line("error", {"error": error_object(problem_of(error))})


def _line(event: str, fields: dict[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(fields)}\n\n".encode("ascii")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
