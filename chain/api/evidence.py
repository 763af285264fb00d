"""/v1/evidence: validators that have contradicted themselves. To remove one is governance's to decide."""

from fastapi import APIRouter, Response

from chain.answers import EvidenceView, Page, VoteView
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, Cursor, Limit, cursor_text, parse_cursor
from chain.node.runner import Node
from chain.primitives.certificate import Vote
from chain.primitives.hexadecimal import to_hex
from chain.primitives.message_pack import decode_trusted
from chain.web.application import create_router


def evidence_router(node: Node) -> APIRouter:
    """What this node has seen of contradictions; another one may have seen others."""
    router = create_router(tag="network")

    @router.get("/v1/evidence", summary="Contradicting votes, newest epoch first", **answers(Page[EvidenceView]))
    def evidence(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        page = node.ledger.store.evidence_page(cursor=parse_cursor(cursor), limit=limit)
        items = [_evidence_view(*decode_trusted(value, tuple[Vote, Vote])) for _, value in page.items]
        return respond(Page(items=items, next_cursor=cursor_text(page.next_cursor)))

    return router


def _evidence_view(first: Vote, second: Vote) -> EvidenceView:
    return EvidenceView(epoch=first.epoch, signer=first.signer, votes=[_vote_view(vote) for vote in (first, second)])


def _vote_view(vote: Vote) -> VoteView:
    return VoteView(
        kind=vote.kind.name.lower(),
        view=vote.view,
        parent_view=vote.parent_view,
        block_hash=to_hex(vote.block_hash),
        signature=to_hex(vote.signature),
    )
