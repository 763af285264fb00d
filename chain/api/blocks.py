"""GET /v1/blocks: blocks newest first, and one block with its transactions and certificate."""

from fastapi import APIRouter, Response

from chain.answers import BlockView, Page
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, Cursor, HeightOrHash, Limit, cursor_text, parse_cursor
from chain.api.reading import block_view, hash_of
from chain.node.runner import Node
from chain.primitives.rejection import Rejected, RejectionReason
from chain.web.application import create_router
from chain.web.problems import not_found

_HEIGHT_BYTES = 8


def blocks_router(node: Node) -> APIRouter:
    """Blocks of one node."""
    router = create_router(tag="blocks")

    @router.get("/v1/blocks", summary="Blocks, newest first", **answers(Page[BlockView]))
    def list_blocks(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view = node.ledger.view()
        assert view.head is not None
        last_given = _parse_height(cursor)
        newest = view.head.height if last_given is None else min(last_given - 1, view.head.height)
        oldest = max(newest - limit + 1, 0)
        next_cursor = oldest.to_bytes(_HEIGHT_BYTES, "big") if oldest > 0 else None
        heights = range(newest, oldest - 1, -1)
        items = [block_view(encoded) for height in heights if (encoded := view.block_at(height)) is not None]
        return respond(Page(items=items, next_cursor=cursor_text(next_cursor)))

    @router.get("/v1/blocks/{height_or_hash}", summary="One block", **answers(BlockView))
    def get_block(height_or_hash: HeightOrHash) -> Response:
        view = node.ledger.view()
        is_hash = height_or_hash.startswith("0x")
        height = view.height_of(hash_of(height_or_hash)) if is_hash else int(height_or_hash)
        encoded = view.block_at(height) if height is not None else None
        if height is None or encoded is None:
            raise not_found(f"no block has this {'hash' if is_hash else 'height'}", field="height_or_hash")
        return respond(block_view(encoded, covering=view.certificate_covering(height), is_whole=True))

    return router


def _parse_height(cursor: str | None) -> int | None:
    key = parse_cursor(cursor)
    if key is not None and len(key) != _HEIGHT_BYTES:
        raise Rejected(RejectionReason.MALFORMED, "cursor does not belong to this list", field="cursor")
    return None if key is None else int.from_bytes(key, "big")
