"""GET /v1/status: which network this is, and how far the node is."""

from fastapi import APIRouter, Response

from chain.answers import FinalizedHead, MempoolSize, PeerCounts, StatusView, Syncing
from chain.api.answering import answers, respond
from chain.node.runner import Node
from chain.primitives.block import PROTOCOL_VERSION
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import MODULES
from chain.web.application import create_router


def status_router(node: Node, version: str) -> APIRouter:
    """One node's status."""
    router = create_router(tag="status")

    @router.get("/v1/status", summary="The network, and how far this node is", **answers(StatusView))
    async def status() -> Response:
        return respond(status_view(node, version))

    return router


def status_view(node: Node, version: str) -> StatusView:
    """One node's status, as of now. On the event loop."""
    network, head, progress = node.ledger.network, node.ledger.head, node.progress()
    validator_index = node.validator_index
    syncing = Syncing(height=head.height, target=progress.target_height) if progress.is_catching_up else None
    return StatusView(
        chain_id=network.chain_id,
        genesis_hash=to_hex(network.genesis_hash),
        network=network.name,
        version=version,
        protocol_version=PROTOCOL_VERSION,
        finalized=FinalizedHead(height=head.height, hash=to_hex(head.block_hash), time_ms=head.time_ms),
        modules={name: to_checksum_address(address) for name, address in MODULES.items()},
        peers=PeerCounts(connected=len(node.network.peers()), validators=len(node.network.connected_validators)),
        role="follower" if validator_index is None else "validator",
        validator_index=validator_index,
        epoch=node.engine.epoch,
        view=node.engine.view,
        syncing=syncing,
        block_interval_ms=network.block_interval_ms,
        mempool=MempoolSize(transactions=len(node.pool), bytes=node.pool.size_bytes),
    )
