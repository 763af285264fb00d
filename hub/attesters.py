"""The parts that vouch for receipts, put together: own attester, other hubs', the way to providers and the chain."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import APIRouter
from prometheus_client import CollectorRegistry

from chain.client import AsyncNodeClient
from chain.primitives.keys import PrivateKey
from chain.web.bodies import LargerBodies
from hub.artifacts import ArtifactFolder
from hub.attestation.attesting import Asked, Attesting, AttestingSettings
from hub.attestation.authentication import Network
from hub.attestation.chain import AttestationChain
from hub.attestation.delivering import Delivering, DeliverySettings
from hub.attestation.deposits import PromiseSweep
from hub.attestation.endorsing import Endorser, EndorsingSettings
from hub.attestation.following import EscrowFollower
from hub.attestation.gathering import Gatherer
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.peers import Peer, PeerAttester
from hub.attestation.routes import attestation_routes, larger_bodies
from hub.attestation.watching import ChainWatch
from hub.jobs import ending
from hub.jobs.requests import client_request_of, parameters_of
from hub.settings import HubSettings
from hub.store.jobs import Job
from hub.store.store import Store
from hub.workers.workers import Workers
from wallet.attester import AttesterSigner


@dataclass(frozen=True, slots=True)
class Attestation:
    """Loops to run, and what others ask of this hub's attester."""

    loops: dict[str, Callable[[], Awaitable[None]]]
    routes: APIRouter
    larger_bodies: LargerBodies


def assemble_attestation(
    settings: HubSettings,
    store: Store,
    node: AsyncNodeClient,
    signer: AttesterSigner,
    hub_key: PrivateKey,
    peers: tuple[Peer, ...],
    workers: Workers,
    artifacts: ArtifactFolder,
    registry: CollectorRegistry,
    opened: AsyncExitStack,
) -> Attestation:
    """On what is open; what it opens itself is closed with `opened`."""
    metrics, chain = AttestationMetrics(registry), AttestationChain(node)
    chain_id, hub_id = signer.network.chain_id, settings.hub_id
    network = Network(chain_id, signer.network.genesis_hash)
    asked = [PeerAttester(peer, hub_key, network) for peer in peers if peer.url is not None]
    for peer in asked:
        opened.push_async_callback(peer.close)

    def asked_of(job: Job) -> Asked:
        return Asked(client_request_of(job, hub_id=hub_id, chain_id=chain_id), parameters_of(job))

    attesting = Attesting(
        AttestingSettings(chain_id=chain_id),
        store=store,
        chain=chain,
        gatherer=Gatherer(signer, asked, metrics),
        endings=ending,
        asked_of=asked_of,
        pictures=artifacts,
        metrics=metrics,
    )
    delivering = Delivering(
        DeliverySettings(),
        store=store,
        postman=workers.orders,
        is_connected=lambda provider: workers.view(provider) is not None,
        asked_of=asked_of,
        metrics=metrics,
    )
    follower = EscrowFollower(store=store, node=node, node_url=settings.node_url, hub_id=hub_id)
    opened.push_async_callback(follower.close)
    endorser = Endorser(EndorsingSettings(), store=store, chain=chain, attester=signer, peers=peers, metrics=metrics)
    return Attestation(
        loops={
            "attesting": attesting.run,
            "delivering": delivering.run,
            "chain_watch": ChainWatch(store=store, chain=chain, metrics=metrics).run,
            "escrow": follower.run,
            "promises": PromiseSweep(store, node).run,
        },
        routes=attestation_routes(endorser, network),
        larger_bodies=larger_bodies(endorser, network),
    )
