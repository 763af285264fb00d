"""The node's HTTP application: the routers, and an OpenAPI document that knows every answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry

from chain.answers import (
    AccountView,
    AttestersView,
    BlockView,
    EvidenceView,
    MintView,
    Page,
    ParametersView,
    ProviderView,
    ReceiptView,
    SentTransaction,
    SentTransactions,
    StatusView,
    SupplyView,
    TransactionView,
    ValidatorsView,
)
from chain.api.accounts import accounts_router
from chain.api.answering import component_schemas
from chain.api.blocks import blocks_router
from chain.api.evidence import evidence_router
from chain.api.governed import governed_router
from chain.api.proofs import proofs_router
from chain.api.proposals import proposals_router
from chain.api.providers import providers_router
from chain.api.reading import BlockCache
from chain.api.receipts import receipts_router
from chain.api.sending import sending_router
from chain.api.status import status_router
from chain.api.transactions import transactions_router
from chain.governance_answers import FinalityView, ProposalView
from chain.node.runner import Node
from chain.storage.errors import StorageError
from chain.web.application import create_application
from chain.web.problems import Problem

MAX_BODY_BYTES: Final = 128 * 1024  # A transaction of 32 KiB takes 64 KiB in hex.
RESPONSE_TIMEOUT_S: Final = 30.0
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.api")
_ANSWERS: Final = [
    AccountView,
    AttestersView,
    FinalityView,
    ParametersView,
    SentTransaction,
    SentTransactions,
    StatusView,
    SupplyView,
    ValidatorsView,
    Page[BlockView],
    Page[EvidenceView],
    Page[MintView],
    Page[ProposalView],
    Page[ProviderView],
    Page[ReceiptView],
    Page[TransactionView],
]


def create_api(node: Node, *, registry: CollectorRegistry, version: str) -> FastAPI:
    """An application whose lifespan starts and stops the node."""

    @asynccontextmanager
    async def lifespan(_application: FastAPI) -> AsyncIterator[None]:
        await node.start()
        try:
            yield
        finally:
            await node.stop()

    application = create_application(
        title="AITBC node",
        version=version,
        description="A node of an AITBC chain: its blocks, transactions, accounts and receipts. Amounts are atoms.",
        registry=registry,
        max_body_bytes=MAX_BODY_BYTES,
        response_timeout_s=RESPONSE_TIMEOUT_S,
        health=lambda: node.fault,
        lifespan=lifespan,
    )
    application.add_exception_handler(StorageError, _on_storage_error)
    cache = BlockCache()
    for router in (
        status_router(node, version),
        blocks_router(node),
        transactions_router(node, cache),
        sending_router(node, cache),
        accounts_router(node, cache),
        receipts_router(node, cache),
        governed_router(node),
        proposals_router(node),
        proofs_router(node),
        evidence_router(node),
        providers_router(node),
    ):
        application.include_router(router)
    node.network.mount(application)
    application.more_schemas = lambda: component_schemas(_ANSWERS)
    return application


def _on_storage_error(_request: Request, error: Exception) -> Response:
    """The folder is closed at the end of the process, or its disk fails: the node's fault, and the log has the rest."""
    _log.error("storage_error", fault=str(error))
    return Problem(503, "storage_unavailable", "this node cannot read its chain at present").response()
