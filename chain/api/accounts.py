"""/v1/accounts: balance and nonces, an account's transactions, a provider's mints."""

from fastapi import APIRouter, Response

from chain.answers import AccountView, Atoms, MintView, Page, TransactionView
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, AddressPath, Cursor, Limit, cursor_text, parse_cursor
from chain.api.reading import BlockCache, mint_view, stored_transaction_view
from chain.node.records import decode_mint_entry
from chain.node.runner import Node
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.rules.state import State
from chain.storage.keys import Table, parse_location
from chain.web.application import create_router


def accounts_router(node: Node, cache: BlockCache) -> APIRouter:
    """Accounts of one node's chain."""
    router = create_router(prefix="/v1/accounts", tag="accounts")

    @router.get("/{address}", summary="Balance and nonces", **answers(AccountView))
    async def get_account(address: AddressPath) -> Response:
        account_address = parse_address(address)
        view = node.ledger.view()
        assert view.head is not None
        account = State(view).account(account_address)
        return respond(
            AccountView(
                address=to_checksum_address(account_address),
                balance=Atoms(account.balance),
                nonce=account.nonce,
                pending_nonce=max(node.pool.nonce_after_waiting(account_address), account.nonce),
                height=view.head.height,
                finalized=True,
            )
        )

    @router.get(
        "/{address}/transactions",
        summary="What an account sent, received or was paid, newest first",
        **answers(Page[TransactionView]),
    )
    def list_transactions(address: AddressPath, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        account = parse_address(address)
        view = node.ledger.view()
        page = view.index_page(Table.ACCOUNT_TRANSACTION, account, cursor=parse_cursor(cursor), limit=limit)
        items: list[TransactionView] = []
        for key, _ in page.items:
            height, index = parse_location(key[len(account) :])
            stored = cache.block_at(view, height)
            assert stored is not None
            items.append(stored_transaction_view(stored, index))
        return respond(Page(items=items, next_cursor=cursor_text(page.next_cursor)))

    @router.get("/{address}/mints", summary="A provider's mints, newest first", **answers(Page[MintView]))
    def list_mints(address: AddressPath, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        provider = parse_address(address)
        view = node.ledger.view()
        page = view.index_page(Table.PROVIDER_MINT, provider, cursor=parse_cursor(cursor), limit=limit)
        items: list[MintView] = []
        for _, value in page.items:
            entry = decode_mint_entry(value)
            stored = cache.block_at(view, entry.height)
            assert stored is not None
            items.append(mint_view(provider, entry, stored))
        return respond(Page(items=items, next_cursor=cursor_text(page.next_cursor)))

    return router
