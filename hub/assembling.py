"""The working parts of a hub, put together on what is open: each is made once, and handed to who needs it."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter
from prometheus_client import CollectorRegistry

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.web.bodies import LargerBodies
from hub.attestation.deposits import DepositDesk
from hub.attesters import assemble_attestation
from hub.delivery.calling import Caller
from hub.delivery.webhooks import Webhooks
from hub.housekeeping import Housekeeping
from hub.http.guard import Guard
from hub.http.links import Links
from hub.http.parts import HubParts
from hub.http.streams import Streams
from hub.jobs.accepting import Acceptance, AcceptanceParts, AcceptanceRules
from hub.jobs.asking import HelpingHands
from hub.jobs.attendant import Attendant
from hub.jobs.canaries import Canaries, CanaryOptions, Wishes, read_prompts
from hub.jobs.checking import Checking
from hub.jobs.desk import Desk
from hub.jobs.ending import Endings
from hub.jobs.examining import CheckLoop
from hub.jobs.joining import Joining
from hub.jobs.judging import Judging
from hub.jobs.keeping import Keeping
from hub.jobs.live import LiveBoard
from hub.jobs.places import DeskParts
from hub.jobs.queueing import Queue
from hub.jobs.recalling import Recall
from hub.jobs.roster import Roster
from hub.loops import Loop
from hub.metrics import HubMetrics
from hub.opening import Opened
from hub.orders.moderation import Moderation, open_moderation
from hub.registry import Registry
from hub.reputation.suspending import Suspending
from hub.scheduling.assignment import Scheduler, SchedulingOptions
from hub.scheduling.fairness import FairClock
from hub.settings import HubSettings
from hub.verification.sampling import SamplingKey
from hub.workers.desk import HubIdentity as WorkersIdentity
from hub.workers.desk import WorkerView
from hub.workers.intake import SessionTools
from hub.workers.mailbox import Mailbox
from hub.workers.spool import Spool
from hub.workers.workers import WorkerBounds, Workers


@dataclass(frozen=True, slots=True)
class Stopping:
    """What the parts are told of the hub's end."""

    is_draining: Callable[[], bool]
    """Nothing new is taken."""
    is_ending: Callable[[], bool]
    """Whoever waits for something is let go."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Ready to run."""

    parts: HubParts
    loops: dict[str, Loop]
    housekeeping: Housekeeping
    routes: APIRouter
    """What others ask of this hub's attester."""
    larger_bodies: LargerBodies


def assemble(made: Opened, registry: CollectorRegistry, stopping: Stopping, *, version: str) -> Assembled:
    """Everything; raises HubConfigurationError."""
    settings, store, chain = made.settings, made.store, made.chain
    metrics = HubMetrics(registry)
    moderation = open_moderation(settings.moderation_words_file, settings.moderation_url)
    made.closing.push_async_callback(moderation.close)
    caller = Caller(settings.inner_webhook_networks)
    made.closing.push_async_callback(caller.close)
    work = _Work(made, metrics)
    hub_key = PrivateKey(made.secrets.hub_key)
    attestation = assemble_attestation(made, work.workers, work.endings, registry)
    acceptance = _acceptance(made, work, moderation, caller)
    links = Links(made.secrets.links)
    parts = HubParts(
        hub_id=made.identity.hub_id,
        chain_id=made.identity.chain_id,
        genesis_hash=made.identity.genesis_hash,
        attester=to_checksum_address(made.signer.address),
        hub_key=to_checksum_address(hub_key.address),
        version=version,
        store=store,
        artifacts=made.artifacts,
        chain=chain,
        workers=work.workers,
        roster=work.roster,
        queue=work.queue,
        acceptance=acceptance,
        board=work.board,
        guard=Guard(made.clients, settings.signed_orders, links),
        links=links,
        streams=Streams(settings.max_streams_per_client),
        metrics=metrics,
        on_cancelled=work.attendant.news,
        is_stopping=stopping.is_draining,
        is_ending=stopping.is_ending,
    )
    housekeeping = Housekeeping(made, work.workers, work.roster, metrics)
    loops = {
        "chain_view": chain.keep_fresh,
        **work.loops,
        "canaries": _canaries(made, work, acceptance).run,
        **attestation.loops,
        "suspending": Suspending(store, work.workers).run,
        "webhooks": Webhooks(store, caller, metrics).run,
        "housekeeping": housekeeping.run,
    }
    return Assembled(parts, loops, housekeeping, attestation.routes, attestation.larger_bodies)


class _Work:
    """Who gives work out, takes it back in, looks at it, and moves jobs on."""

    def __init__(self, made: Opened, metrics: HubMetrics) -> None:
        settings, store = made.settings, made.store
        self.clock = FairClock()
        self.roster, self.queue, self.board = Roster(store, made.process), Queue(store), LiveBoard()
        key = SamplingKey(made.secrets.sampling)
        self.endings, self.wishes = Endings(metrics), Wishes(key, _canary_rates(settings), self.roster)
        checking = Checking(key, _rates(settings), self.endings, metrics)
        asks_others = any(peer.url is not None for peer in made.peers)
        keeping = Keeping(metrics, challenge_window_s=settings.challenge_window_s, asks_others=asks_others)
        options = SchedulingOptions(policy=settings.policy, newcomer_share=settings.newcomer_share)
        desk = Desk(
            DeskParts(
                store=store,
                artifacts=made.artifacts,
                chain=made.chain,
                roster=self.roster,
                queue=self.queue,
                scheduler=Scheduler(options, self.clock),
                board=self.board,
                checking=checking,
                keeping=keeping,
                judging=Judging(made.secrets.likeness, settings.clock_tolerance_s, settings.metering_slack_s),
                wishes=self.wishes,
                metrics=metrics,
                process=made.process,
            ),
            self._tell,
            self._joined,
        )
        self.workers = _workers(made, desk)
        self.attendant = Attendant(
            store,
            self.workers,
            self.roster,
            self.queue,
            self.endings,
            keeping,
            max_attempts=settings.max_attempts,
        )
        self._joining = Joining(store, self.workers, self.roster, metrics)
        checks = CheckLoop(
            store,
            made.artifacts,
            checking,
            HelpingHands(self.workers, self.roster),
            self.attendant.news,
            timeout_s=settings.check_timeout_s,
        )
        self.loops: dict[str, Loop] = {
            "workers": self.workers.run,
            "attendant": self.attendant.run,
            "checks": checks.run,
            "joining": self._joining.run,
            "recall": Recall(store, self.workers, desk.forget).run,
        }

    def _tell(self, job_id: str) -> None:
        """The desk is made before the attendant, who wants its news."""
        self.attendant.news(job_id)

    def _joined(self, view: WorkerView) -> None:
        self._joining.joined(view)


def _workers(made: Opened, desk: Desk) -> Workers:
    identity = made.identity
    tools = SessionTools(
        WorkersIdentity(identity.hub_id, identity.chain_id, identity.genesis_hash, made.settings.hosts_for_workers),
        desk,
        Spool(made.settings.data_dir / "spool"),
    )
    return Workers(
        tools,
        Registry(made.chain, made.store),
        WorkerBounds(sessions=made.settings.max_workers),
        None if made.orders is None else Mailbox(made.store, made.orders, made.process),
    )


def _acceptance(made: Opened, work: _Work, moderation: Moderation, caller: Caller) -> Acceptance:
    settings = made.settings
    parts = AcceptanceParts(
        store=made.store,
        workers=work.workers,
        roster=work.roster,
        queue=work.queue,
        chain=made.chain,
        clock=work.clock,
        moderation=moderation,
        deposits=DepositDesk(made.node, made.identity.hub_id),
        caller=caller,
    )
    rules = AcceptanceRules(
        hub_id=made.identity.hub_id,
        chain_id=made.identity.chain_id,
        policy=settings.policy,
        max_waiting_pictures=settings.max_waiting_pictures,
        longest_s=settings.longest_job_s,
        preview_every=settings.preview_every,
        estimates_per_minute=settings.estimates_per_minute,
    )
    return Acceptance(parts, rules)


def _canaries(made: Opened, work: _Work, acceptance: Acceptance) -> Canaries:
    settings = made.settings
    prompts = () if settings.canary_prompts_file is None else read_prompts(settings.canary_prompts_file)
    return Canaries(
        made.store,
        work.workers,
        work.roster,
        work.queue,
        acceptance,
        work.wishes,
        CanaryOptions(settings.canaries_per_day, prompts, made.secrets.likeness),
    )


def _canary_rates(settings: HubSettings) -> dict[str, float]:
    return {"new": settings.canary_new, "normal": settings.canary_normal, "proven": settings.canary_proven}


def _rates(settings: HubSettings) -> dict[str, float]:
    return {"new": settings.check_new, "normal": settings.check_normal, "proven": settings.check_proven}
