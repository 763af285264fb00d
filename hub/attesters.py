"""The parts that vouch for receipts, put together: own attester, other hubs', the way to providers and the chain."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter
from prometheus_client import CollectorRegistry

from chain.primitives.hexadecimal import parse_address
from chain.primitives.keys import PrivateKey
from chain.primitives.types import ZERO_ADDRESS
from chain.web.bodies import LargerBodies
from hub.attestation.attesting import Asked, Attesting, AttestingSettings
from hub.attestation.authentication import Network
from hub.attestation.chain import AttestationChain
from hub.attestation.delivering import Delivering, DeliverySettings
from hub.attestation.deposits import PromiseSweep
from hub.attestation.endorsing import Endorser, EndorsingSettings
from hub.attestation.examining import Bounds
from hub.attestation.following import EscrowFollower
from hub.attestation.gathering import Gatherer
from hub.attestation.logs import ChainLogs
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.minting import MintFollower
from hub.attestation.peers import PeerAttester
from hub.attestation.remembering import complete_log
from hub.attestation.routes import attestation_routes, larger_bodies
from hub.attestation.watching import ChainWatch
from hub.jobs.ending import Endings
from hub.jobs.requests import client_request_of, parameters_of
from hub.opening import Opened
from hub.reputation.recording import Recorder
from hub.store.jobs import Job
from hub.verification.sampling import SamplingKey
from hub.workers.workers import Workers


@dataclass(frozen=True, slots=True)
class Attestation:
    """Loops to run, and what others ask of this hub's attester."""

    loops: dict[str, Callable[[], Awaitable[None]]]
    routes: APIRouter
    larger_bodies: LargerBodies


def assemble_attestation(made: Opened, workers: Workers, endings: Endings, registry: CollectorRegistry) -> Attestation:
    """On what is open; what it opens itself is closed with it. Raises HubConfigurationError and AttestationLogError
    where the attester's log cannot be used with this database."""
    settings, store, node, signer = made.settings, made.store, made.node, made.signer
    metrics, chain = AttestationMetrics(registry), AttestationChain(node)
    chain_id, hub_id = signer.network.chain_id, settings.hub_id
    network = Network(chain_id, signer.network.genesis_hash)

    def asked_of(job: Job) -> Asked:
        return Asked(client_request_of(job, hub_id=hub_id, chain_id=chain_id), parameters_of(job))

    complete_log(store, signer, asked_of)
    attesting = Attesting(
        AttestingSettings(
            chain_id=chain_id,
            fee_recipient=ZERO_ADDRESS if settings.fee_recipient is None else parse_address(settings.fee_recipient),
            fee_basis_points=settings.fee_basis_points,
        ),
        store=store,
        chain=chain,
        gatherer=Gatherer(signer, _others(made, network), metrics),
        endings=endings,
        asked_of=asked_of,
        pictures=made.artifacts,
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
    logs = ChainLogs(settings.node_url)
    made.closing.push_async_callback(logs.close)
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "attesting": attesting.run,
        "delivering": delivering.run,
        "chain_watch": ChainWatch(store=store, chain=chain, metrics=metrics).run,
        "minter": MintFollower(store=store, node=node, logs=logs, metrics=metrics).run,
        "escrow": EscrowFollower(store=store, node=node, logs=logs, hub_id=hub_id, metrics=metrics).run,
        "promises": PromiseSweep(store, node).run,
    }
    if made.account_key is not None:  # The attester's: outcomes of providers' work are to be written on the chain.
        loops["recording"] = Recorder(store=store, node=node, key=made.account_key, chain_id=chain_id).run
    endorser = _endorser(made, chain, metrics)
    return Attestation(
        loops=loops,
        routes=attestation_routes(endorser, network),
        larger_bodies=larger_bodies(endorser, network),
    )


def _others(made: Opened, network: Network) -> list[PeerAttester]:
    """Whom this hub asks."""
    hub_key = PrivateKey(made.secrets.hub_key)
    asked = [PeerAttester(peer, hub_key, network) for peer in made.peers if peer.url is not None]
    for peer in asked:
        made.closing.push_async_callback(peer.close)
    return asked


def _endorser(made: Opened, chain: AttestationChain, metrics: AttestationMetrics) -> Endorser:
    """For those who ask this hub."""
    settings = made.settings
    bounds = Bounds(takes_unsigned=settings.endorse_unsigned, most_price_per_unit=settings.endorse_max_price)
    return Endorser(
        EndorsingSettings(bounds=bounds, window_s=settings.endorse_window_s),
        store=made.store,
        chain=chain,
        attester=made.signer,
        peers=made.peers,
        key=SamplingKey(made.secrets.sampling),
        metrics=metrics,
    )
