"""Who this hub is and which providers it knows: for everybody."""

from fastapi import APIRouter

from chain.client import NodeError
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.web.application import create_router
from chain.web.problems import not_found
from hub.http.answers import HubAnswer, OnChainAnswer, ProviderAnswer, ProviderList, ReputationAnswer
from hub.http.parts import HubParts
from hub.reputation.public import describe, described
from hub.store import jobs, providers, waiting
from hub.store.providers import Provider
from hub.store.store import now_ms


def public_routes(parts: HubParts) -> APIRouter:
    """Under /v1."""
    router = create_router(prefix="/v1", tag="hub")

    @router.get("/hub", summary="Who this hub is")
    async def get_hub() -> HubAnswer:
        await parts.roster.refresh()
        open_jobs, pictures = await parts.store.read(lambda r: (jobs.open_counts(r), waiting.counts(r)[1]))
        return HubAnswer(
            hub_id=parts.hub_id,
            chain_id=parts.chain_id,
            genesis_hash=parts.genesis_hash,
            attester=parts.attester,
            hub_key=parts.hub_key,
            version=parts.version,
            signed_orders=parts.guard.signed_orders,
            providers=len(parts.roster.everyone(parts.workers.views())),
            jobs_open=sum(open_jobs.values()),
            pictures_waiting=pictures,
        )

    @router.get("/providers", summary="The providers that this hub knows")
    async def get_providers() -> ProviderList:
        await parts.roster.refresh()
        records = await parts.store.read(providers.every)
        now = now_ms()
        return ProviderList(items=[_describe(parts, record, now) for record in records])

    @router.get("/providers/{address}", summary="One of them")
    async def get_provider(address: str) -> ProviderAnswer:
        try:
            name = to_checksum_address(parse_address(address[:64]))
        except Rejected:
            raise not_found("no provider has this address", field="address") from None
        await parts.roster.refresh()
        record = await parts.store.read(lambda r: providers.get(r, name))
        if record is None:
            raise not_found("this hub knows no such provider", field="address")
        return _describe(parts, record, now_ms())

    @router.get("/providers/{address}/reputation", summary="What came of its work")
    async def get_reputation(address: str) -> ReputationAnswer:
        try:
            provider = parse_address(address[:64])
        except Rejected:
            raise not_found("no provider has this address", field="address") from None
        now, name = now_ms(), to_checksum_address(provider)
        found = await parts.store.read(lambda r: describe(r, name, now))
        if found is None:
            raise not_found("this hub knows no such provider", field="address")
        return ReputationAnswer(**found, on_chain=await _on_chain(parts, provider))

    return router


async def _on_chain(parts: HubParts, provider: Address) -> OnChainAnswer | None:
    try:
        entry = await parts.chain.provider(provider)
    except NodeError:
        return None
    return None if entry is None else OnChainAnswer(receipts=entry.receipts, complaints=entry.complaints)


def _describe(parts: HubParts, record: Provider, now: int) -> ProviderAnswer:
    address = parse_address(record.address)
    declared, public = record.declared, described(record, now)
    suspension = public["suspension"] or {}
    entry = next(iter(parts.chain.known_providers([address])), None)
    return ProviderAnswer(
        address=record.address,
        is_connected=parts.workers.view(address) is not None or parts.roster.is_elsewhere(address),
        models=declared.get("models", {}),
        unit_type=declared.get("unit_type"),
        device=declared.get("device"),
        vram_mib=declared.get("vram_mib", 0),
        standing=str(record.standing),
        score=public["score"],
        accepted=record.accepted,
        refused=record.refused,
        failed=record.failed,
        timed_out=record.timed_out,
        suspended=suspension.get("reason"),
        suspended_until_ms=suspension.get("until_ms"),
        is_banned=record.is_banned,
        banned=public["banned"],
        endpoint=None if entry is None else entry.endpoint,
    )
