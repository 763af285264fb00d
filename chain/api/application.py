"""The node's HTTP application: the routers, and an OpenAPI document that knows every answer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware

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
from chain.api.abi import ContractsView, abi_router
from chain.api.accounts import accounts_router
from chain.api.answering import component_schemas
from chain.api.assets import assets_router
from chain.api.blocks import blocks_router
from chain.api.deposits import deposits_router
from chain.api.evidence import evidence_router
from chain.api.governed import governed_router
from chain.api.markets import markets_router
from chain.api.pages.exchange import exchange_router
from chain.api.proofs import proofs_router
from chain.api.proposals import proposals_router
from chain.api.providers import providers_router
from chain.api.reading import BlockCache
from chain.api.receipts import receipts_router
from chain.api.rpc.budget import MAX_BODIES_BYTES, MAX_UNSENT_BYTES, ByteBudget
from chain.api.rpc.dispatch import Dispatcher
from chain.api.rpc.heavy_pool import HeavyPool
from chain.api.rpc.http import PATHS, RpcEndpoint
from chain.api.rpc.metrics import RpcMetrics
from chain.api.rpc.openrpc import discover_method, openrpc_document, openrpc_router
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.table import all_methods
from chain.api.rpc.websocket import RpcSockets
from chain.api.sending import sending_router
from chain.api.status import status_router
from chain.api.stream import Streams, stream_router
from chain.api.trading import trading_router
from chain.api.transactions import transactions_router
from chain.escrow_answers import DepositsView, DepositView
from chain.governance_answers import FinalityView, ProposalView
from chain.market_answers import (
    AssetView,
    BalancesView,
    BookView,
    CandlesView,
    FillView,
    MarketView,
    OrderView,
    PolicyView,
    TickerView,
    TradeView,
)
from chain.node.config import DEFAULT_CORS_ORIGINS
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
    BalancesView,
    BookView,
    CandlesView,
    ContractsView,
    DepositView,
    DepositsView,
    FinalityView,
    ParametersView,
    PolicyView,
    SentTransaction,
    SentTransactions,
    StatusView,
    SupplyView,
    TickerView,
    ValidatorsView,
    Page[AssetView],
    Page[BlockView],
    Page[EvidenceView],
    Page[FillView],
    Page[MarketView],
    Page[MintView],
    Page[OrderView],
    Page[ProposalView],
    Page[ProviderView],
    Page[ReceiptView],
    Page[TradeView],
    Page[TransactionView],
]


def create_api(
    node: Node, *, registry: CollectorRegistry, version: str, cors_origins: Sequence[str] = DEFAULT_CORS_ORIGINS
) -> FastAPI:
    """An application whose lifespan starts and stops the node. Pages of `cors_origins` may read what it answers."""
    cache, pool, unsent = BlockCache(), HeavyPool(), ByteBudget(MAX_UNSENT_BYTES)
    chain = ServedChain(node, cache, version=version)
    methods = all_methods(chain)
    document = openrpc_document(methods, version=version)
    dispatcher = Dispatcher((*methods, discover_method(document)), pool=pool, metrics=RpcMetrics(registry))
    sockets = RpcSockets(chain, dispatcher, unsent, registry=registry, origins=cors_origins)
    streams = Streams(node, cache, registry=registry)

    @asynccontextmanager
    async def lifespan(_application: FastAPI) -> AsyncIterator[None]:
        await node.start()
        sockets.start()
        streams.start()
        try:
            yield
        finally:
            await streams.close()
            await sockets.close()
            await pool.close()
            await node.stop()

    application = create_application(
        title="AITBC node",
        version=version,
        description="A node of an AITBC chain: its blocks, transactions, accounts and receipts. Amounts are atoms.",
        registry=registry,
        max_body_bytes=MAX_BODY_BYTES,
        response_timeout_s=RESPONSE_TIMEOUT_S,
        health=lambda: node.ailment,
        lifespan=lifespan,
    )
    application.add_exception_handler(StorageError, _on_storage_error)
    for router in (
        status_router(node, version),
        blocks_router(node),
        transactions_router(node, cache),
        sending_router(node, cache),
        accounts_router(node, cache),
        deposits_router(node),
        receipts_router(node, cache),
        governed_router(node),
        proposals_router(node),
        proofs_router(node),
        evidence_router(node),
        providers_router(node),
        assets_router(node),
        markets_router(node),
        trading_router(node),
        stream_router(streams),
        exchange_router(node),
        abi_router(),
        openrpc_router(document),
    ):
        application.include_router(router)
    node.network.mount(application)
    sockets.mount(application)
    application.state.direct_answers = dict.fromkeys(PATHS, dispatcher.answer_now)  # For chain.web.server.
    application.state.on_stopping = streams.stop  # So is this.
    application.add_middleware(RpcEndpoint, dispatcher=dispatcher, unsent=unsent, bodies=ByteBudget(MAX_BODIES_BYTES))
    application.add_middleware(
        CORSMiddleware,
        allow_origins=list(cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        allow_private_network=True,  # Or browsers that ask keep public pages from a node on loopback.
        max_age=86_400,
    )
    application.more_schemas = lambda: component_schemas(_ANSWERS)
    return application


def _on_storage_error(_request: Request, error: Exception) -> Response:
    """The folder is closed at the end of the process, or its disk fails: the node's fault, and the log has the rest."""
    _log.error("storage_error", fault=str(error))
    return Problem(503, "storage_unavailable", "this node cannot read its chain at present").response()
