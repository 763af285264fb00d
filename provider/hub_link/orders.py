"""A hub's assignment as an order for `provider.jobs`: within the bounds that every client's request has here."""

import msgspec
from pydantic import ValidationError

from chain.primitives.hexadecimal import parse_hash
from chain.primitives.hub_messages import Assignment
from chain.primitives.worker_fields import PictureRun, amount_of, octets_of
from provider.api_keys import Caller
from provider.generation import Encoding, ImageRequest
from provider.http.schemas import PictureFields
from provider.hub_link.errors import HubRefused
from provider.jobs.order import HubJobOrigin, JobOrder, LeaseTerms, WayIn, asked_bytes
from provider.settings import ProviderSettings

_ROUTE = "hub"
_NOT_THE_WORK = ("type", "deadline_s", "preview_every")
"""What may differ between an assignment and the same one again."""


def caller_of(hub_id: str) -> Caller:
    """Whose jobs a hub's are here; no API key can have this name."""
    return Caller(f"@{hub_id}")


def order_of(assignment: Assignment, *, hub_id: str, settings: ProviderSettings) -> JobOrder:
    """Raises HubRefused and OrderRefused for work that this provider does not do for anybody."""
    run = assignment.run
    return JobOrder(
        request=request_of(run, settings),
        caller=caller_of(hub_id),
        way_in=WayIn.HUB,
        asked=asked_bytes(_ROUTE, work_of(assignment)),
        seed_asked=run.seed,
        model_asked=run.model,
        hub_job=HubJobOrigin(
            hub_id=hub_id,
            job_id=assignment.job_id,
            client=assignment.client,
            request_hash=parse_hash(assignment.request_hash, "request_hash"),
            client_signature=None if assignment.client_signature is None else octets_of(assignment.client_signature),
            nonce=assignment.lease_id,
            prompt_salt=octets_of(assignment.prompt_salt),
            lease=LeaseTerms(
                lease_id=assignment.lease_id,
                unit_type=assignment.unit_type,
                price_per_unit=amount_of(assignment.price_per_unit),
                max_amount=None if assignment.max_amount is None else amount_of(assignment.max_amount),
            ),
        ),
        preview_every=assignment.preview_every,
    )


def work_of(assignment: Assignment) -> dict[str, object]:
    """What makes an assignment the same one again."""
    fields = dict(msgspec.to_builtins(assignment))
    return {name: value for name, value in fields.items() if name not in _NOT_THE_WORK}


def request_of(run: PictureRun, settings: ProviderSettings) -> ImageRequest:
    """Raises HubRefused for what no client could ask for either."""
    if run.count > settings.max_pictures:
        message = f"{run.count} pictures, and this provider takes {settings.max_pictures} at once"
        raise HubRefused(message, reason="too_large")
    for prompt in run.prompts:
        _check_bounds(run, prompt)
    return ImageRequest(
        prompt=run.prompts[0],
        prompts=run.prompts if len(run.prompts) > 1 else (),
        steps=run.steps,
        guidance=run.guidance,
        width=run.width,
        height=run.height,
        seed=run.seed,
        negative_prompt=run.negative_prompt,
        count=run.count,
        scheduler=run.scheduler,
        model=run.model,
        encoding=Encoding(run.image_format, run.quality),
    )


def _check_bounds(run: PictureRun, prompt: str) -> None:
    fields = {
        "prompt": prompt,
        "steps": run.steps,
        "guidance": run.guidance,
        "width": run.width,
        "height": run.height,
        "seed": run.seed,
        "negative_prompt": run.negative_prompt,
        "scheduler": run.scheduler,
        "model": run.model,
        "output_format": run.image_format,
        "quality": run.quality,
    }
    try:
        PictureFields.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise HubRefused(f"{place}: {first['msg']}", reason="out_of_range") from None
