"""/v1/transactions: those in blocks newest first, and one by its hash. `chain.api.sending` takes new ones."""

from fastapi import APIRouter, Response

from chain.answers import Page, TransactionView
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, Cursor, HashPath, Limit, cursor_text, parse_cursor
from chain.api.reading import (
    BlockCache,
    find_transaction,
    hash_of,
    pending_transaction_view,
    stored_transaction_view,
)
from chain.node.runner import Node
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS
from chain.storage.keys import Table, account_transaction_key, parse_location
from chain.web.application import create_router
from chain.web.problems import Problem, not_found

_ADDRESS_BYTES = len(ZERO_ADDRESS)


def transactions_router(node: Node, cache: BlockCache) -> APIRouter:
    """Transactions of one node, waiting and in blocks."""
    router = create_router(tag="transactions")

    @router.get("/v1/transactions", summary="Transactions in blocks, newest first", **answers(Page[TransactionView]))
    def list_transactions(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view = node.ledger.view()
        items: list[TransactionView] = []
        position = _parse_position(cursor)
        while len(items) < limit:
            # The entries of the zero address are the blocks that hold transactions; a position below the first
            # transaction of one is reached through the key of its next one.
            key = account_transaction_key(ZERO_ADDRESS, *position) if position is not None else None
            page = view.index_page(Table.ACCOUNT_TRANSACTION, ZERO_ADDRESS, cursor=key, limit=1)
            if not page.items:
                return respond(Page(items=items, next_cursor=None))
            height, _ = parse_location(page.items[0][0][_ADDRESS_BYTES:])
            stored = cache.block_at(view, height)
            assert stored is not None
            count = len(stored.block.transactions)
            end = min(position[1], count) if position is not None and position[0] == height else count
            start = max(end - (limit - len(items)), 0)
            items += [stored_transaction_view(stored, index) for index in range(end - 1, start - 1, -1)]
            position = (height, start)
        assert position is not None
        next_key = account_transaction_key(ZERO_ADDRESS, *position)
        is_last = not view.index_page(Table.ACCOUNT_TRANSACTION, ZERO_ADDRESS, cursor=next_key, limit=1).items
        return respond(Page(items=items, next_cursor=None if is_last else cursor_text(next_key)))

    @router.get("/v1/transactions/{transaction_hash}", summary="One transaction", **answers(TransactionView))
    def get_transaction(transaction_hash: HashPath) -> Response:
        key = hash_of(transaction_hash)
        found = find_transaction(node.ledger.view(), cache, key)
        if found is None:
            waiting = node.pool.get(key)
            if waiting is not None:
                return respond(pending_transaction_view(waiting))
            found = find_transaction(
                node.ledger.view(), cache, key
            )  # It may have moved from the one to the other meanwhile.
        if found is not None:
            return respond(stored_transaction_view(*found))
        dropped = node.pool.why_dropped(key)
        if dropped is not None:
            reason = f"it was dropped ({dropped.reason.value}): {dropped.message}"
            raise Problem(404, "dropped", f"this transaction waited here, and {reason}", field="transaction_hash")
        raise not_found("this node knows no transaction with this hash", field="transaction_hash")

    return router


def _parse_position(cursor: str | None) -> tuple[int, int] | None:
    """Height and index of the transaction that was given last."""
    key = parse_cursor(cursor)
    if key is None:
        return None
    if len(key) != len(account_transaction_key(ZERO_ADDRESS, 0, 0)) or not key.startswith(ZERO_ADDRESS):
        raise Rejected(RejectionReason.MALFORMED, "cursor does not belong to this list", field="cursor")
    return parse_location(key[_ADDRESS_BYTES:])
