"""/v1/assets and /v1/policies: what is issued, and whom markets let trade."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from chain.answers import Page
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, AddressPath, Cursor, Limit, cursor_text, parse_cursor
from chain.api.market_reading import asset_view
from chain.market_answers import AssetView, PolicyView
from chain.node.runner import Node
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.market import asset_address, asset_number, is_asset_address
from chain.primitives.modules import TOKEN
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules.assets.holdings import asset_count, find_asset
from chain.rules.compliance import find_policy
from chain.rules.state import State
from chain.web.application import create_router
from chain.web.problems import not_found

_PolicyPath = Annotated[int, Path(ge=1, le=2**32 - 1, description="Policies are numbered from 1.")]


def assets_router(node: Node) -> APIRouter:
    """Assets and policies of one node's chain, as of its head."""
    router = create_router(prefix="/v1", tag="market")
    chain_id = node.ledger.network.chain_id

    @router.get("/assets", summary="AIT, and all issued assets by number", **answers(Page[AssetView]))
    def list_assets(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view = node.ledger.view()
        assert view.head is not None
        state, first = State(view), _next_number(cursor)
        last = min(first + limit - 1, asset_count(state))
        items = [asset_view(chain_id, state, view.head, _address_of(number)) for number in range(first, last + 1)]
        next_cursor = _address_of(last) if items and last < asset_count(state) else None
        return respond(Page(items=items, next_cursor=cursor_text(next_cursor)))

    @router.get("/assets/{address}", summary="One asset; AIT by the token module's address", **answers(AssetView))
    def get_asset(address: AddressPath) -> Response:
        view, asset = node.ledger.view(), parse_address(address)
        assert view.head is not None
        state = State(view)
        if asset != TOKEN and find_asset(state, asset) is None:
            raise not_found("no asset has this address", field="address")
        return respond(asset_view(chain_id, state, view.head, asset))

    @router.get("/policies/{policy}", summary="Whom markets of a policy let trade", **answers(PolicyView))
    def get_policy(policy: _PolicyPath) -> Response:
        view = node.ledger.view()
        assert view.head is not None
        found = find_policy(State(view), policy)
        if found is None:
            raise not_found("no policy has this number", field="policy")
        return respond(
            PolicyView(
                policy=policy,
                authorities=[to_checksum_address(authority) for authority in found.authorities],
                countries_allowed=found.countries_allowed,
                countries=list(found.countries),
                minimum_level=found.minimum_level,
                height=view.head.height,
                finalized=True,
            )
        )

    return router


def _address_of(number: int) -> Address:
    """Of an asset; AIT stands at 0 in the list."""
    return asset_address(number) if number else TOKEN


def _next_number(cursor: str | None) -> int:
    """After the asset that was given last, whose address the cursor is."""
    key = parse_cursor(cursor)
    if key is None:
        return 0
    address = Address(key)
    if address == TOKEN:
        return 1
    if len(key) != len(TOKEN) or not is_asset_address(address):
        raise Rejected(RejectionReason.MALFORMED, "cursor does not belong to this list", field="cursor")
    return asset_number(address) + 1
