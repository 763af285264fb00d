"""/v1/receipts: used receipts newest first, and one by its hash."""

from fastapi import APIRouter, Response

from chain.answers import Page, ReceiptView
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, Cursor, HashPath, Limit, cursor_text, parse_cursor
from chain.api.reading import BlockCache, hash_of, receipt_view
from chain.node.records import decode_receipt_entry
from chain.node.runner import Node
from chain.storage.keys import Table
from chain.storage.view import StateView
from chain.web.application import create_router
from chain.web.problems import not_found


def receipts_router(node: Node, cache: BlockCache) -> APIRouter:
    """Receipts that the chain has used up."""
    router = create_router(prefix="/v1/receipts", tag="receipts")

    def find(view: StateView, receipt_hash: bytes) -> ReceiptView | None:
        encoded = view.index_get(Table.RECEIPT, receipt_hash)
        if encoded is None:
            return None
        entry = decode_receipt_entry(encoded)
        stored = cache.block_at(view, entry.height)
        assert stored is not None
        return receipt_view(receipt_hash, entry, stored, node.ledger.signatures.recover)

    @router.get("", summary="Used receipts, newest first", **answers(Page[ReceiptView]))
    def list_receipts(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view = node.ledger.view()
        page = view.index_page(Table.RECEIPT_ORDER, cursor=parse_cursor(cursor), limit=limit)
        found = [find(view, receipt_hash) for _, receipt_hash in page.items]
        items = [receipt for receipt in found if receipt is not None]
        return respond(Page(items=items, next_cursor=cursor_text(page.next_cursor)))

    @router.get("/{receipt_hash}", summary="How a receipt was used", **answers(ReceiptView))
    def get_receipt(receipt_hash: HashPath) -> Response:
        receipt = find(node.ledger.view(), hash_of(receipt_hash))
        if receipt is None:
            raise not_found("no receipt with this hash has been used", field="receipt_hash")
        return respond(receipt)

    return router
