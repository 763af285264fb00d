"""`POST /v1/generate-image`: the plan's own API, with what image servers have had since beside its fields."""

import base64
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request

from chain.primitives.client_request import ClientClaim
from chain.web.application import create_router
from provider.api_keys import Caller
from provider.generation import Encoding, ImageRequest
from provider.http.guard import Guard
from provider.http.parts import ProviderParts
from provider.http.problems import problem_responses
from provider.http.schemas import (
    DEFAULT_STRENGTH,
    ClientRequestBody,
    GenerateAnswer,
    GenerateRequest,
    PictureFields,
)
from provider.http.serving import IdempotencyKey, answer_of
from provider.http.source_images import CheckedSource
from provider.jobs.answers import FinishedAnswer
from provider.jobs.order import JobOrder, WayIn, asked_bytes, chosen_seed

ROUTE: Final = "/v1/generate-image"


def create_plan_router(parts: ProviderParts, guard: Guard) -> APIRouter:
    """The route of the plan."""
    router = create_router(prefix="/v1", tag="pictures")
    statuses = (400, 401, 402, 403, 404, 409, 410, 413, 415, 422, 429, 500, 503, 504, 507)

    @router.post(
        "/generate-image",
        summary="Make a picture",
        response_model=GenerateAnswer,
        response_model_exclude_none=True,
        responses=problem_responses(*statuses),
    )
    async def generate_image(
        request: Request,
        caller: Annotated[Caller | None, Depends(guard.by_body)],
        body: GenerateRequest,
        idempotency_key: IdempotencyKey = None,
    ) -> GenerateAnswer:
        assert caller is not None, "the schema demands the key that the guard has looked for"
        order = await plan_order(
            parts,
            body,
            caller,
            WayIn.PLAN,
            signed=body.client_request,
            idempotency_key=idempotency_key,
        )
        job = await parts.jobs.start(order)
        return plan_answer(await answer_of(job, request))

    return router


async def plan_order(
    parts: ProviderParts,
    body: PictureFields,
    caller: Caller,
    way_in: WayIn,
    *,
    signed: ClientRequestBody | None = None,
    idempotency_key: str | None = None,
    preview_every: int = 0,
) -> JobOrder:
    """The order that the plan's fields describe; raises OrderRefused for a source that is no picture, Rejected too."""
    source = await _read_source(parts, body)
    # What both HTTP and the WebSocket have: the same order by either is the same job.
    asked: dict[str, Any] = body.model_dump(include=set(PictureFields.model_fields) - {"init_image"})
    if source is not None:
        asked["init_image"] = source.sha256
    if signed is not None:
        asked["client_request"] = signed.model_dump()
    return JobOrder(
        request=ImageRequest(
            prompt=body.prompt,
            steps=body.steps,
            guidance=body.guidance,
            width=body.width,
            height=body.height,
            seed=chosen_seed(body.seed),
            negative_prompt=body.negative_prompt,
            count=body.count,
            scheduler=body.scheduler,
            model=parts.settings.public_model_name if body.model is None else body.model,
            source=None if source is None else source.source,
            encoding=Encoding(body.output_format, body.quality),
        ),
        caller=caller,
        way_in=way_in,
        asked=asked_bytes(ROUTE, asked),
        seed_asked=body.seed,
        model_asked=body.model,
        source_sha256=None if source is None else source.sha256,
        idempotency_key=idempotency_key,
        client_request=None if signed is None else ClientClaim.from_object(signed.model_dump()),
        preview_every=preview_every,
    )


async def _read_source(parts: ProviderParts, body: PictureFields) -> CheckedSource | None:
    if body.init_image is None:
        return None
    strength = DEFAULT_STRENGTH if body.strength is None else body.strength
    return await parts.sources.read_base64(
        body.init_image, field="init_image", width=body.width, height=body.height, strength=strength
    )


def plan_answer(answer: FinishedAnswer) -> GenerateAnswer:
    """The plan's answer to a finished job."""
    images = [data_url(picture, answer.media_type) for picture in answer.pictures]
    return GenerateAnswer(
        job_id=answer.job_id,
        image_base64=images[0],
        images=images if len(images) > 1 else None,
        duration_ms=answer.duration_ms,
        gpu_seconds=answer.gpu_seconds,
        seed=answer.seeds[0],
        seeds=list(answer.seeds),
        width=answer.width,
        height=answer.height,
        count=len(images),
        scheduler=answer.scheduler,
        device=answer.device,
        gpu=answer.gpu,
        model=answer.model,
        receipt=answer.receipt,
        receipt_hash=answer.receipt_hash,
        provider_signature=answer.provider_signature,
        prompt_salt=answer.prompt_salt,
        profiles=list(answer.profiles) or None,
    )


def data_url(content: bytes, media_type: str) -> str:
    """The bytes as a URL that a browser shows."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
