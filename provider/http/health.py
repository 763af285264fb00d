"""`GET /v1/health`: what this provider is, what it sells, and whether it serves. Answers while the model loads too."""

from importlib.metadata import version

from fastapi import APIRouter

from chain.primitives.hexadecimal import to_checksum_address
from chain.web.application import create_router
from provider.http.parts import ProviderParts
from provider.http.schemas import Health, ModelEntry, QueueReport


def create_health_router(parts: ProviderParts) -> APIRouter:
    """The route; it needs no API key."""
    router = create_router(prefix="/v1", tag="operations")

    @router.get("/health", summary="What this provider is and whether it takes jobs")
    async def health() -> Health:
        settings, engine = parts.settings, parts.engine
        first = engine.devices[0] if engine.devices else None
        return Health(
            status=parts.status(),
            gpu=None if first is None else first.name,
            model=settings.public_model_name,
            device=None if first is None else first.kind,
            vram_mib=None if first is None else first.vram_mib,
            gpus=[device.name for device in engine.devices],
            models=_models(parts),
            provider=to_checksum_address(parts.address),
            chain_id=parts.chain.chain_id,
            unit_type=settings.unit_type,
            price_per_unit=str(settings.price_of(settings.public_model_name)),
            max_pictures=settings.max_pictures,
            queue=QueueReport(waiting=engine.queue_length, limit=settings.queue_limit, busy=engine.is_busy),
            version=version("aitbc"),
            detail=parts.fault(),
            hubs=parts.hubs(),
        )

    return router


def _models(parts: ProviderParts) -> list[ModelEntry]:
    reports = {report.name: report for report in parts.engine.models()}
    return [
        ModelEntry(
            name=name,
            loaded=name in reports and reports[name].is_loaded,
            price_per_unit=str(parts.settings.price_of(name)),
            vram_mib=reports[name].vram_mib if name in reports else 0,
        )
        for name in parts.settings.public_models
    ]
