"""/v1/proofs: what somebody who does not believe this node can check for himself (`chain.primitives.finality`)."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from chain.api.answering import answers, respond
from chain.governance_answers import EpochEndView, FinalityView
from chain.node.records import decode_epoch_entry, epoch_key
from chain.node.runner import Node
from chain.primitives import message_pack
from chain.primitives.block import Header, header_of_trusted
from chain.primitives.finality import MAX_DESCENDANTS
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.storage.keys import Table
from chain.storage.view import StateView
from chain.web.application import create_router
from chain.web.problems import not_found

MAX_EPOCH_ENDS: Final = 32  # With 60 validators, an answer stays below 700 KB.
_MAX_HEIGHT: Final = 10**15

BlockHeightPath = Annotated[int, Path(ge=1, le=_MAX_HEIGHT, description="The genesis block, 0, needs no proof.")]
KnownEpoch = Annotated[
    int,
    Query(ge=0, le=_MAX_HEIGHT, description="An epoch whose validators you know; the network file names those of 0."),
]


def proofs_router(node: Node) -> APIRouter:
    """Proofs from one node's chain."""
    router = create_router(prefix="/v1/proofs", tag="proofs")

    @router.get("/finality/{height}", summary="Why a block is final", **answers(FinalityView))
    def finality(height: BlockHeightPath, known_epoch: KnownEpoch = 0) -> Response:
        return respond(finality_view(node.ledger.view(), height, known_epoch))

    return router


def finality_view(view: StateView, height: int, known_epoch: int) -> FinalityView:
    """Why a block is final, for somebody who knows the validators of an epoch. Raises Problem and Rejected."""
    header = _header_at(view, height)
    if header is None:
        raise not_found("no block has this height", field="height")
    if known_epoch > header.epoch:
        raise Rejected(
            RejectionReason.OUT_OF_RANGE, f"the block is of epoch {header.epoch}, before yours", field="known_epoch"
        )
    descendants, certificate = _covering(view, height)
    last = min(header.epoch, known_epoch + MAX_EPOCH_ENDS)
    return FinalityView(
        height=header.height,
        block_hash=to_hex(header.hash),
        epoch=header.epoch,
        epoch_ends=[_epoch_end(view, epoch) for epoch in range(known_epoch, last)],
        header=_encoded(header),
        descendants=[_encoded(descendant) for descendant in descendants],
        certificate=to_hex(certificate),
        finalized=True,
    )


def _header_at(view: StateView, height: int) -> Header | None:
    encoded = view.block_at(height)
    return None if encoded is None else header_of_trusted(encoded)


def _encoded(header: Header) -> str:
    return to_hex(message_pack.encode(header))


def _covering(view: StateView, height: int) -> tuple[list[Header], bytes]:
    """The headers after the block's up to the one with the next certificate, and that certificate."""
    covering = view.certificate_covering(height)
    if covering is None or covering[0] - height > MAX_DESCENDANTS:
        # Only while a descendant is about to be written that has it, or after a thousand views without one.
        raise not_found("the certificate that covers this block is not here (yet)", field="height")
    certified_height, certificate = covering
    headers = [_header_at(view, each) for each in range(height + 1, certified_height + 1)]
    return [header for header in headers if header is not None], certificate


def _epoch_end(view: StateView, epoch: int) -> EpochEndView:
    """How an epoch ended that is over."""
    encoded = view.index_get(Table.EPOCH, epoch_key(epoch + 1))
    entry = None if encoded is None else decode_epoch_entry(encoded)
    header = None if entry is None else _header_at(view, entry.height)
    certificate = None if entry is None else view.certificate_at(entry.height)
    if entry is None or header is None or certificate is None:
        raise not_found(f"this node does not have the certificate that ended epoch {epoch}", field="known_epoch")
    return EpochEndView(
        epoch=epoch,
        height=entry.height,
        header=_encoded(header),
        certificate=to_hex(certificate),
        next_validators=[to_checksum_address(validator) for validator in entry.validators],
    )
