"""The routes of OpenAI's images API: `/v1/images/generations`, `/v1/images/edits`, `/v1/models`."""

import base64
import time
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from chain.primitives.hexadecimal import to_checksum_address
from chain.web.problems import Problem, problem_of_validation
from provider.api_keys import Caller
from provider.errors import UnknownModel
from provider.http.guard import Guard
from provider.http.job_details import JobDetails
from provider.http.openai.errors import ERROR_RESPONSES, OpenAIRoute
from provider.http.openai.multipart import FormPart, parse_form
from provider.http.openai.schemas import (
    EditRequest,
    GenerationRequest,
    ImageData,
    ImagesAnswer,
    ServedModel,
    ServedModels,
)
from provider.http.openai.streaming import Stream, preview_interval_steps
from provider.http.parts import ProviderParts
from provider.http.serving import IdempotencyKey, answer_of
from provider.jobs.answers import FinishedAnswer
from provider.jobs.order import JobOrder, WayIn, asked_bytes

_IMAGE_FIELDS: Final = frozenset({"image", "image[]"})
_EVENT_SCHEMA: Final = {
    "description": "One of the events; `data` is a JSON object.",
    "type": "object",
    "required": ["event", "data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string", "contentMediaType": "application/json"}},
}
_STREAMS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The pictures; with `stream`, server-sent events.",
        "content": {"text/event-stream": {"schema": _EVENT_SCHEMA}},
    }
}


def create_openai_router(parts: ProviderParts, guard: Guard) -> APIRouter:
    """The router; `parts` are asked anew for every request."""
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute, responses=ERROR_RESPONSES)
    desk = _Desk(parts)
    began_s = int(time.time())
    by_key = Depends(guard.by_bearer)

    @router.post(
        "/images/generations",
        summary="Make pictures, as OpenAI's SDKs ask for them",
        response_model=ImagesAnswer,
        response_model_exclude_none=True,
        responses=_STREAMS,
    )
    async def generations(
        request: Request,
        body: GenerationRequest,
        caller: Annotated[Caller, by_key],
        idempotency_key: IdempotencyKey = None,
    ) -> Any:
        asked = asked_bytes("/v1/images/generations", body.model_dump(exclude_none=True))
        order = desk.order(body, caller, asked, idempotency_key)
        return await desk.serve(order, _Asked("image_generation", body, request))

    @router.post(
        "/images/edits",
        summary="Draw a picture anew from another one",
        response_model=ImagesAnswer,
        response_model_exclude_none=True,
        responses=_STREAMS,
        openapi_extra=_edit_body(),
    )
    async def edits(request: Request, caller: Annotated[Caller, by_key], idempotency_key: IdempotencyKey = None) -> Any:
        form = parse_form(request.headers.get("content-type", ""), await request.body())
        body, upload = _read_edit(form)
        order = await desk.edit_order(body, upload, caller, idempotency_key)
        return await desk.serve(order, _Asked("image_edit", body, request))

    @router.get("/models", summary="The models that are served, the default first")
    async def models(_caller: Annotated[Caller, by_key]) -> ServedModels:
        return ServedModels(data=[_served(name, parts, began_s) for name in desk.model_names()])

    @router.get("/models/{model:path}", summary="One model")
    async def model_by_name(
        model: Annotated[str, Path(max_length=256)], _caller: Annotated[Caller, by_key]
    ) -> ServedModel:
        return _served(desk.known_model(model), parts, began_s)

    return router


@dataclass(frozen=True)
class _Asked:
    """A request on its way; `kind` names the events of its stream."""

    kind: str
    body: GenerationRequest
    request: Request


class _Desk:
    """Takes orders and hands out answers."""

    def __init__(self, parts: ProviderParts) -> None:
        self._parts = parts

    def model_names(self) -> list[str]:
        """Public names, the default first."""
        return list(self._parts.settings.public_models)

    def known_model(self, name: str | None) -> str:
        """The name itself, or the default where none is given; raises UnknownModel.

        OpenAI's own names stand for nothing here: whoever asks for dall-e-3 is told what there is instead.
        """
        names = self.model_names()
        if name is None:
            return names[0]
        if name not in names:
            raise UnknownModel(f"this provider does not serve that model; it serves {', '.join(names)}")
        return name

    def order(self, body: GenerationRequest, caller: Caller, asked: bytes, idempotency_key: str | None) -> JobOrder:
        """A job of text alone."""
        return JobOrder(
            request=body.image_request(self.known_model(body.model)),
            caller=caller,
            way_in=WayIn.OPENAI,
            asked=asked,
            seed_asked=body.seed,
            model_asked=body.model,
            idempotency_key=idempotency_key,
            preview_every=_preview_every(body),
        )

    async def edit_order(
        self, body: EditRequest, upload: bytes, caller: Caller, idempotency_key: str | None
    ) -> JobOrder:
        """A job that begins with an uploaded picture."""
        model = self.known_model(body.model)
        width, height = body.width_and_height
        checked = await self._parts.sources.read_bytes(
            upload, width=width, height=height, strength=body.strength, field="image"
        )
        return JobOrder(
            request=body.image_request(model, checked.source),
            caller=caller,
            way_in=WayIn.OPENAI,
            asked=asked_bytes("/v1/images/edits", {**body.model_dump(exclude_none=True), "image": checked.sha256}),
            seed_asked=body.seed,
            model_asked=body.model,
            source_sha256=checked.sha256,
            idempotency_key=idempotency_key,
            preview_every=_preview_every(body),
        )

    async def serve(self, order: JobOrder, asked: _Asked) -> Response | ImagesAnswer:
        """The answer, or a stream of events; what is refused is refused before either begins."""
        running = await self._parts.jobs.start(order)
        if not asked.body.stream:
            return self._answer(await answer_of(running, asked.request), asked)

        lines = Stream(asked.kind, asked.body, int(time.time())).lines(running)
        return StreamingResponse(lines, media_type="text/event-stream", headers=_UNBUFFERED)

    def _answer(self, answer: FinishedAnswer, asked: _Asked) -> ImagesAnswer:
        body = asked.body
        width, height = body.width_and_height
        if body.response_format == "url":
            count = range(len(answer.pictures))
            links = [self._parts.link(asked.request, answer.provider_job_id, index) for index in count]
            pictures = [ImageData(url=link) for link in links]
        else:
            pictures = [ImageData(b64_json=base64.b64encode(picture).decode("ascii")) for picture in answer.pictures]
        return ImagesAnswer(
            created=answer.created_at_s,
            data=pictures,
            output_format=answer.format,
            size=f"{width}x{height}",
            quality=body.reported_quality,
            aitbc=JobDetails.of(answer),
        )


_UNBUFFERED: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""nginx would keep the events back until the end."""


def _preview_every(body: GenerationRequest) -> int:
    return preview_interval_steps(body) if body.stream else 0


def _read_edit(form: list[FormPart]) -> tuple[EditRequest, bytes]:
    """The text fields, checked, and the one picture; raises Problem."""
    uploads = [part.content for part in form if part.name in _IMAGE_FIELDS]
    if len(uploads) != 1:
        reason = "missing_field" if not uploads else "too_large"
        raise Problem(422, reason, "image: one picture, as a file", field="image")
    fields: dict[str, str] = {}
    for part in form:
        if part.name in _IMAGE_FIELDS:
            continue
        if part.is_file:
            raise Problem(422, "unknown_field", "only `image` can be uploaded here; there are no masks", field="mask")
        if part.name in fields:
            raise Problem(422, "duplicate_key", "a field stands twice in the form", field="body")
        fields[part.name] = _text(part)
    try:
        return EditRequest.model_validate(fields), uploads[0]
    except ValidationError as error:
        raise problem_of_validation([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from None


def _text(part: FormPart) -> str:
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(422, "malformed", "a field of the form is not UTF-8 text", field="body") from None


def _served(name: str, parts: ProviderParts, began_s: int) -> ServedModel:
    return ServedModel(id=name, created=began_s, owned_by=to_checksum_address(parts.address))


def _edit_body() -> dict[str, Any]:
    """How the OpenAPI document describes the form, which FastAPI does not read itself."""
    schema = EditRequest.model_json_schema()
    schema["properties"]["image"] = {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP."}
    schema["required"] = ["image", *schema.get("required", [])]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
