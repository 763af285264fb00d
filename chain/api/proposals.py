"""/v1/proposals: what validators have proposed, newest first, and one by its number."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from chain.answers import Page
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, Cursor, Limit, cursor_text, parse_cursor
from chain.governance_answers import ProposalView
from chain.node.clock import now_ms
from chain.node.runner import Node
from chain.primitives.call_text import describe_call
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.rules.governance import approvals_needed, counted_approvals
from chain.rules.state import State
from chain.storage.view import StateView
from chain.web.application import create_router
from chain.web.problems import not_found

_NUMBER_BYTES: Final = 8
ProposalNumber = Annotated[int, Path(ge=1, le=2**53, description="Proposals are numbered from 1.")]


def proposals_router(node: Node) -> APIRouter:
    """Proposals of one node's chain, as they are at its head."""
    router = create_router(prefix="/v1/proposals", tag="network")

    @router.get("", summary="What validators have proposed, newest first", **answers(Page[ProposalView]))
    def list_proposals(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view = node.ledger.view()
        state = State(view)
        given_last = _parse_number(cursor)
        newest = min(state.proposal_count(), state.proposal_count() if given_last is None else given_last - 1)
        oldest = max(newest - limit + 1, 1)
        found = [_proposal_view(state, view, number) for number in range(newest, oldest - 1, -1)]
        items = [proposal for proposal in found if proposal is not None]
        next_cursor = oldest.to_bytes(_NUMBER_BYTES, "big") if items and oldest > 1 else None
        return respond(Page(items=items, next_cursor=cursor_text(next_cursor)))

    @router.get("/{number}", summary="One proposal", **answers(ProposalView))
    def get_proposal(number: ProposalNumber) -> Response:
        view = node.ledger.view()
        proposal = _proposal_view(State(view), view, number)
        if proposal is None:
            raise not_found("no proposal has this number", field="number")
        return respond(proposal)

    return router


def _parse_number(cursor: str | None) -> int | None:
    """Of the proposal that was given last."""
    key = parse_cursor(cursor)
    if key is not None and len(key) != _NUMBER_BYTES:
        raise Rejected(RejectionReason.MALFORMED, "cursor does not belong to this list", field="cursor")
    return None if key is None else int.from_bytes(key, "big")


def _proposal_view(state: State, view: StateView, number: int) -> ProposalView | None:
    proposal = state.proposal(number)
    if proposal is None:
        return None
    assert view.head is not None
    # As the next block's rules see it: its time is after the head's, whatever this node's clock says.
    is_lapsed = max(now_ms(), view.head.time_ms + 1) > proposal.lapses_at_ms
    validators = state.validators()
    return ProposalView(
        number=number,
        status="executed" if proposal.executed else "lapsed" if is_lapsed else "open",
        proposer=to_checksum_address(proposal.proposer),
        target=to_checksum_address(proposal.target),
        call_data=to_hex(proposal.call_data),
        call=describe_call(proposal.target, proposal.call_data),
        created_at_ms=proposal.created_at_ms,
        lapses_at_ms=proposal.lapses_at_ms,
        approvals=[to_checksum_address(approver) for approver in proposal.approvals],
        counted_approvals=counted_approvals(proposal, validators),
        needed_approvals=approvals_needed(proposal, len(validators)),
        height=view.head.height,
        finalized=True,
    )
