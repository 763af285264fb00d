"""/v1/providers: the chain's registry of providers, by address."""

from fastapi import APIRouter, Response

from chain.answers import Atoms, Page, ProviderView, ReputationView
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, AddressPath, Cursor, Limit, cursor_text, parse_cursor
from chain.node.runner import Node
from chain.primitives.hexadecimal import parse_address, to_checksum_address, to_hex
from chain.primitives.types import Address
from chain.rules.reputation import NO_SLA, reputation_of
from chain.rules.state import State
from chain.storage.keys import Table
from chain.storage.view import StateView
from chain.web.application import create_router
from chain.web.problems import not_found


def providers_router(node: Node) -> APIRouter:
    """Everybody who ever registered; `active` says who still offers."""
    router = create_router(prefix="/v1/providers", tag="providers")

    def find(view: StateView, address: Address) -> ProviderView | None:
        state = State(view)
        registration = state.registration(address)
        if registration is None or view.head is None:
            return None
        receipts, units, failures, disputes, breaches, sla_hash = reputation_of(state, address)
        return ProviderView(
            address=to_checksum_address(address),
            active=registration.active,
            endpoint=registration.endpoint,
            models=list(registration.models),
            price_per_unit=Atoms(registration.price_per_unit),
            unit_type=registration.unit_type,
            vram_mib=registration.vram_mib,
            payout=to_checksum_address(registration.payout),
            reputation=ReputationView(
                receipts=receipts, units=Atoms(units), failures=failures, disputes=disputes, breaches=breaches
            ),
            sla_hash=None if sla_hash == NO_SLA else to_hex(sla_hash),
            height=view.head.height,
            finalized=True,
        )

    @router.get("", summary="Registered providers, by address", **answers(Page[ProviderView]))
    def list_providers(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view = node.ledger.view()
        page = view.index_page(Table.PROVIDER, cursor=parse_cursor(cursor), limit=limit, newest_first=False)
        found = [find(view, Address(key)) for key, _ in page.items]
        items = [provider for provider in found if provider is not None]
        return respond(Page(items=items, next_cursor=cursor_text(page.next_cursor)))

    @router.get("/{address}", summary="One provider", **answers(ProviderView))
    def get_provider(address: AddressPath) -> Response:
        provider = find(node.ledger.view(), parse_address(address))
        if provider is None:
            raise not_found("this address has never registered as a provider", field="address")
        return respond(provider)

    return router
