"""Pictures in Automatic1111's words: text to image, image to image, the caller's own progress, and its interruption."""

import base64
from importlib.metadata import version
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request

from provider.api_keys import Caller
from provider.http.automatic1111.choices import ModelChoices
from provider.http.automatic1111.infotexts import info_json, timestamp
from provider.http.automatic1111.schemas import (
    ImagesAnswer,
    ImageToImageRequest,
    ProgressAnswer,
    ProgressState,
    TextToImageRequest,
)
from provider.http.guard import Guard
from provider.http.job_details import JobDetails
from provider.http.parts import ProviderParts
from provider.http.serving import IdempotencyKey, answer_of
from provider.jobs.order import JobOrder, WayIn, asked_bytes
from provider.jobs.running import RunningJob

PREVIEW_EVERY_STEPS: Final = 5
"""How often `progress` has a new picture to show."""


def add_picture_routes(router: APIRouter, parts: ProviderParts, guard: Guard, choices: ModelChoices) -> None:
    """Adds `/txt2img`, `/img2img`, `/progress`, `/interrupt` and `/skip`."""
    studio = _Studio(parts, choices)
    by_key = Depends(guard.by_basic_or_bearer)

    @router.post("/txt2img", summary="Make pictures from text")
    async def text_to_image(
        request: Request,
        body: TextToImageRequest,
        caller: Annotated[Caller, by_key],
        idempotency_key: IdempotencyKey = None,
    ) -> ImagesAnswer:
        return await studio.serve(body, studio.order(body, caller, idempotency_key), request)

    @router.post("/img2img", summary="Draw a picture anew from another one")
    async def image_to_image(
        request: Request,
        body: ImageToImageRequest,
        caller: Annotated[Caller, by_key],
        idempotency_key: IdempotencyKey = None,
    ) -> ImagesAnswer:
        return await studio.serve(body, await studio.order_from_image(body, caller, idempotency_key), request)

    @router.get("/progress", summary="How far the caller's own current job is")
    async def progress(
        caller: Annotated[Caller, by_key], skip_current_image: Annotated[bool, Query()] = False
    ) -> ProgressAnswer:
        return _progress_of(studio.current_job(caller), shows_image=not skip_current_image)

    @router.post("/interrupt", summary="End the caller's own current job")
    async def interrupt(caller: Annotated[Caller, by_key]) -> dict[str, str]:
        studio.interrupt(caller)
        return {}

    @router.post("/skip", summary="The same: pictures of one job are drawn together")
    async def skip(caller: Annotated[Caller, by_key]) -> dict[str, str]:
        studio.interrupt(caller)
        return {}


class _Studio:
    """Turns requests into orders and answers into theirs."""

    def __init__(self, parts: ProviderParts, choices: ModelChoices) -> None:
        self._parts = parts
        self._choices = choices
        self._version = f"AITBC {version('aitbc')}"

    def order(self, body: TextToImageRequest, caller: Caller, idempotency_key: str | None) -> JobOrder:
        """A job of text alone; raises UnknownModel and OrderRefused."""
        return JobOrder(
            request=body.image_request(self._model(body, caller)),
            caller=caller,
            way_in=WayIn.AUTOMATIC1111,
            asked=asked_bytes("/sdapi/v1/txt2img", body.parameters()),
            seed_asked=body.seed_asked,
            model_asked=body.checkpoint,
            idempotency_key=idempotency_key,
            preview_every=PREVIEW_EVERY_STEPS,
        )

    async def order_from_image(
        self, body: ImageToImageRequest, caller: Caller, idempotency_key: str | None
    ) -> JobOrder:
        """A job that begins with a picture; raises also OrderRefused for what is no picture."""
        model = self._model(body, caller)
        checked = await self._parts.sources.read_base64(
            body.init_images[0],
            width=body.width,
            height=body.height,
            strength=body.denoising_strength,
            field="init_images",
        )
        return JobOrder(
            request=body.image_request(model, checked.source),
            caller=caller,
            way_in=WayIn.AUTOMATIC1111,
            asked=asked_bytes("/sdapi/v1/img2img", {**body.parameters(), "init_images": [checked.sha256]}),
            seed_asked=body.seed_asked,
            model_asked=body.checkpoint,
            source_sha256=checked.sha256,
            idempotency_key=idempotency_key,
            preview_every=PREVIEW_EVERY_STEPS,
        )

    async def serve(self, body: TextToImageRequest, order: JobOrder, request: Request) -> ImagesAnswer:
        """The finished pictures; raises ProviderError."""
        running = await self._parts.jobs.start(order)
        answer = await answer_of(running, request)
        pictures = answer.pictures if body.send_images else ()
        return ImagesAnswer(
            images=[base64.b64encode(picture).decode("ascii") for picture in pictures],
            parameters=body.parameters(),
            info=info_json(order.request, answer, batch_size=body.batch_size, version=self._version),
            aitbc=JobDetails.of(answer),
        )

    def current_job(self, caller: Caller) -> RunningJob | None:
        """The caller's oldest job that came in by this API and has not ended."""
        own = (job for job in self._parts.jobs.running(caller) if job.order.way_in is WayIn.AUTOMATIC1111)
        return next(own, None)

    def interrupt(self, caller: Caller) -> None:
        """Whoever waits for it is told that it was cancelled: half a picture has no receipt."""
        job = self.current_job(caller)
        if job is not None:
            job.cancel()

    def _model(self, body: TextToImageRequest, caller: Caller) -> str:
        return self._choices.of(caller) if body.checkpoint is None else self._choices.known(body.checkpoint)


def _progress_of(job: RunningJob | None, *, shows_image: bool) -> ProgressAnswer:
    if job is None:
        return ProgressAnswer(progress=0.0, eta_relative=0.0, state=ProgressState())
    seen = job.progress
    preview = seen.preview if shows_image else None
    return ProgressAnswer(
        # Not 0 while there is a job: clients read that as idle.
        progress=min(1.0, max(0.01, seen.fraction)),
        eta_relative=seen.remaining_s,
        state=ProgressState(
            job=job.job_id,
            job_count=1,
            job_timestamp=timestamp(job.started_at_s),
            sampling_step=seen.step,
            sampling_steps=seen.steps,
        ),
        current_image=None if preview is None else base64.b64encode(preview).decode("ascii"),
    )
