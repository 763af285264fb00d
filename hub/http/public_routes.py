"""Who this hub is and which providers it knows: for everybody."""

from fastapi import APIRouter

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.rejection import Rejected
from chain.web.application import create_router
from chain.web.problems import not_found
from hub.http.answers import HubAnswer, ProviderAnswer, ProviderList
from hub.http.parts import HubParts
from hub.store import jobs, providers, waiting
from hub.store.providers import Provider


def public_routes(parts: HubParts) -> APIRouter:
    """Under /v1."""
    router = create_router(prefix="/v1", tag="hub")

    @router.get("/hub", summary="Who this hub is")
    async def get_hub() -> HubAnswer:
        open_jobs, pictures = await parts.store.read(lambda r: (jobs.open_counts(r), waiting.counts(r)[1]))
        return HubAnswer(
            hub_id=parts.hub_id,
            chain_id=parts.chain_id,
            genesis_hash=parts.genesis_hash,
            attester=parts.attester,
            version=parts.version,
            providers=parts.workers.count,
            jobs_open=sum(open_jobs.values()),
            pictures_waiting=pictures,
        )

    @router.get("/providers", summary="The providers that this hub knows")
    async def get_providers() -> ProviderList:
        records = await parts.store.read(providers.every)
        return ProviderList(items=[_describe(parts, record) for record in records])

    @router.get("/providers/{address}", summary="One of them")
    async def get_provider(address: str) -> ProviderAnswer:
        try:
            name = to_checksum_address(parse_address(address[:64]))
        except Rejected:
            raise not_found("no provider has this address", field="address") from None
        record = await parts.store.read(lambda r: providers.get(r, name))
        if record is None:
            raise not_found("this hub knows no such provider", field="address")
        return _describe(parts, record)

    return router


def _describe(parts: HubParts, record: Provider) -> ProviderAnswer:
    address = parse_address(record.address)
    declared = record.declared
    entry = next(iter(parts.chain.known_providers([address])), None)
    return ProviderAnswer(
        address=record.address,
        is_connected=parts.workers.view(address) is not None,
        models=declared.get("models", {}),
        unit_type=declared.get("unit_type"),
        device=declared.get("device"),
        vram_mib=declared.get("vram_mib", 0),
        standing=str(record.standing),
        score=round(record.score, 4),
        accepted=record.accepted,
        refused=record.refused,
        failed=record.failed,
        timed_out=record.timed_out,
        suspended=record.suspended_reason,
        suspended_until_ms=record.suspended_until_ms,
        is_banned=record.is_banned,
        endpoint=None if entry is None else entry.endpoint,
    )
