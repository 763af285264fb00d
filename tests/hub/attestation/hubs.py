"""A network that asks for two attesters, and hubs on sockets whose attesters sign for each other."""

import asyncio
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from chain.client import AsyncNodeClient, NodeClient
from chain.node.cli import app as node_app
from chain.node.folder import write_key_file
from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_SPLIT, MINT_WITH_RECEIPT, MINTER, REGISTER, REGISTRY
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import Receipt, attestation_digest, sign_receipt
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Address
from chain.web.application import create_application
from chain.web.server import Server, listen
from hub.attestation.attesting import Asked, Attesting, AttestingSettings
from hub.attestation.authentication import Network as CallNetwork
from hub.attestation.chain import AttestationChain
from hub.attestation.endorsing import Endorser, EndorsingSettings
from hub.attestation.evidence import Evidence
from hub.attestation.forms import form_of
from hub.attestation.gathering import Gatherer
from hub.attestation.logs import ChainLogs
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.peers import Peer, PeerAttester
from hub.attestation.routes import attestation_routes, larger_bodies
from hub.attestation.watching import ChainWatch
from hub.jobs.composing import composed
from hub.jobs.ending import Endings
from hub.jobs.requests import client_request_of, kept_request, parameters_of
from hub.metrics import HubMetrics
from hub.store import jobs, receipts, results, shards, waiting
from hub.store.jobs import Job as StoredJob
from hub.store.jobs import JobState, NewJob
from hub.store.leases import NewLease
from hub.store.receipts import NewReceipt
from hub.store.results import NewPicture, NewResult
from hub.store.shards import NewShard, Shard, ShardState
from hub.store.store import HubIdentity, Store, now_ms
from hub.store.transaction import Transaction
from hub.verification.sampling import SamplingKey
from tests.hub.attestation.evidences import CHAIN_ID, CLIENT, MODEL, PRICE, PROVIDERS, SALT, Job
from wallet.attestation_log import AttestationLog
from wallet.attester import AttesterNetwork, AttesterSigner

ATTESTERS: Final = {"east": PrivateKey(b"\x0b" * 32), "west": PrivateKey(b"\x0c" * 32)}
HUB_KEYS: Final = {"east": PrivateKey(b"\x1b" * 32), "west": PrivateKey(b"\x1c" * 32)}
PATIENCE_S: Final = 120.0
ENDINGS: Final = Endings(HubMetrics(CollectorRegistry()))


class TwoAttesterChain:
    """One validator as `aitbc node run` starts it; every mint needs both attesters."""

    def __init__(self, folder: Path, *, threshold: int = 2) -> None:
        validator = PrivateKey(b"\x0a" * 32)
        network = Network(
            chain_id=CHAIN_ID,
            name="attestation-test",
            validators=(Validator(validator.address, validator.public_key),),
            attesters=tuple(AttesterAllowance(key.address, 10**6 * ATOMS_PER_AIT, 10**6) for key in ATTESTERS.values()),
            parameters=Parameters(attester_threshold=threshold),
            block_interval_ms=100,
        )
        self.genesis_hash = network.genesis_hash
        folder.mkdir(exist_ok=True)
        (folder / "network.toml").write_text(network_to_toml(network))
        write_key_file(folder / "validator.key", validator)
        files = ["--network", str(folder / "network.toml"), "--key-file", str(folder / "validator.key")]
        assert CliRunner().invoke(node_app, ["init", *files, "--data-dir", str(folder / "data")]).exit_code == 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "node", "run", "--data-dir", folder / "data", "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
        )
        heard: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(heard,), daemon=True).start()
        self.url = heard.get(timeout=PATIENCE_S)
        self.node = NodeClient(self.url)

    def _listen(self, heard: "queue.Queue[str]") -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{") and (event := json.loads(line))["event"] == "serving":
                heard.put(event["url"])

    def send(self, key: PrivateKey, to: Address, call_data: bytes) -> Any:
        """A call that must succeed; the transaction as it is in its block."""
        nonce = self.node.account(key.address).nonce
        signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=to, data=call_data)
        self.node.send_transaction(signed.raw)
        sent = self.node.wait_for_transaction(signed.hash, timeout_s=PATIENCE_S)
        assert sent.status == "success", sent.reason
        return sent

    def register(self, key: PrivateKey) -> None:
        """As a provider of MODEL."""
        fields = ("http://127.0.0.1:9", [MODEL], PRICE, "gpu_seconds", 0, ZERO_ADDRESS)
        self.send(key, REGISTRY, REGISTER.encode(*fields))

    def fund(self, key: PrivateKey, atoms: int) -> None:
        """Mints for a receipt hash that nobody has seen."""
        receipt_hash = sha256(key.address + time.time_ns().to_bytes(8, "big"))
        digest = attestation_digest(key.address, atoms, receipt_hash)
        signers = sorted(ATTESTERS.values(), key=lambda signer: signer.address)
        signatures = b"".join(signer.sign(digest) for signer in signers)
        self.send(key, MINTER, MINT_WITH_RECEIPT.encode(key.address, atoms, receipt_hash, signatures))

    def mint(self, receipt: receipts.Receipt, evidence: Evidence) -> None:
        """What a provider does with an attestation."""
        assert receipt.attestation is not None
        signatures = bytes.fromhex(receipt.attestation[2:])
        whole, sender = evidence.receipt, PROVIDERS[0]
        if len(whole.payouts()) == 1:
            call = MINT_WITH_RECEIPT.encode(whole.provider, whole.amount, whole.hash, signatures)
        else:
            who, amounts = zip(*whole.payouts(), strict=True)
            call = MINT_SPLIT.encode(who, amounts, whole.hash, signatures)
        self.send(sender, MINTER, call)

    def close(self) -> None:
        """Ends it as an operator would."""
        self.node.close()
        self.process.terminate()
        assert self.process.wait(timeout=PATIENCE_S) == 0


@contextmanager
def running_chain(folder: Path, **options: Any) -> Iterator[TwoAttesterChain]:
    """With all providers registered."""
    chain = TwoAttesterChain(folder, **options)
    try:
        for key in PROVIDERS:
            chain.register(key)
        yield chain
    finally:
        chain.close()


class Pictures:
    """Bytes by their SHA-256."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def read(self, sha256: str) -> bytes | None:
        return self.kept.get(sha256)


class Hub:
    """What attesting needs of a hub, with real parts; its attester answers on a socket."""

    def __init__(self, name: str, folder: Path, chain: TwoAttesterChain, **endorsing: Any) -> None:
        folder.mkdir(exist_ok=True, parents=True)
        self.name = name
        self.chain = chain
        self.store = Store(
            f"sqlite:///{folder / 'hub.sqlite3'}", HubIdentity(name, CHAIN_ID, to_hex(chain.genesis_hash))
        )
        self.node = AsyncNodeClient(chain.url)
        self.view = AttestationChain(self.node)
        self.logs = ChainLogs(chain.url)
        self.network = CallNetwork(CHAIN_ID, chain.genesis_hash)
        log = AttestationLog(folder / "attestations.sqlite3", chain.genesis_hash)
        self.attester = AttesterSigner(ATTESTERS[name], AttesterNetwork(CHAIN_ID, chain.genesis_hash), log)
        self.metrics = AttestationMetrics(CollectorRegistry())
        self.pictures = Pictures()
        self.listener = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        others = [other for other in ATTESTERS if other != name]
        peers = [Peer(other, None, ATTESTERS[other].address, HUB_KEYS[other].address) for other in others]
        self.endorser = Endorser(
            EndorsingSettings(**endorsing),
            store=self.store,
            chain=self.view,
            attester=self.attester,
            peers=peers,
            key=SamplingKey(sha256(name.encode())),
            metrics=self.metrics,
        )
        self.peers: list[PeerAttester] = []

    def attesting(self, peers: Sequence["Hub"], **settings: Any) -> Attesting:
        """With these hubs' attesters."""
        self.peers = [self.peer(other) for other in peers]
        return Attesting(
            AttestingSettings(chain_id=CHAIN_ID, **settings),
            store=self.store,
            chain=self.view,
            gatherer=Gatherer(self.attester, self.peers, self.metrics),
            endings=ENDINGS,
            asked_of=self.asked_of,
            pictures=self.pictures,
            metrics=self.metrics,
        )

    def peer(self, other: "Hub") -> PeerAttester:
        """The other hub's attester as this hub asks it."""
        address = ATTESTERS[other.name].address
        return PeerAttester(
            Peer(other.name, other.url, address, HUB_KEYS[other.name].address), HUB_KEYS[self.name], self.network
        )

    def watch(self) -> ChainWatch:
        """Over this hub's receipts."""
        return ChainWatch(store=self.store, chain=self.view, metrics=self.metrics)

    def asked_of(self, job: StoredJob) -> Asked:
        """As hub.py does it."""
        return Asked(client_request_of(job, hub_id=self.name, chain_id=CHAIN_ID), parameters_of(job))

    def bring(self, evidence: Evidence, *, window_until_ms: int = 0, is_withdrawable: bool = False) -> str:
        """A job as it stands when all its checks have passed and its receipt is kept; its id."""
        for picture in evidence.pictures:
            self.pictures.kept[sha256(picture).hex()] = picture
        job_id = evidence.receipt.job_id
        self.store.write_now(lambda t: _accept(t, evidence))
        first = 0
        for number, part in enumerate(evidence.parts or (None,)):
            count = len(evidence.pictures) if part is None else part.pictures
            self._serve(evidence, number, first, count)
            first += count
        self.store.write_now(
            lambda t: jobs.set_state(
                t, job_id, JobState.VERIFYING, only_from=(JobState.RUNNING, JobState.QUEUED), now_ms=now_ms()
            )
        )
        row = replace(_new_receipt(evidence, window_until_ms), is_withdrawable=is_withdrawable)
        self.store.write_now(lambda t: receipts.keep(t, row, now_ms()))
        return job_id

    def make_again(self, made: Job, key: PrivateKey, picture: bytes) -> None:
        """What waits of a job is this provider's one picture; and the receipt of the whole as it is then."""
        self.pictures.kept[sha256(picture).hex()] = picture
        (shard,) = (each for each in self.shards(made.job_id) if each.state == ShardState.WAITING)
        part = made.receipt(key, [picture])
        self._deliver(
            part, sign_receipt(key, part), f"{made.job_id}-again-{shard.attempts}", shard.first_picture, [picture]
        )
        found = self.store.read_now(lambda c: results.of_job(c, made.job_id))
        whole = composed(
            self.job(made.job_id),
            [Receipt.from_json(each.receipt_json) for each in found],
            provider=made.makers[0][0].address,
        )
        row = NewReceipt(
            job_id=made.job_id,
            receipt_hash=to_hex(whole.hash),
            provider=to_checksum_address(whole.provider),
            receipt_json=whole.canonical_bytes().decode(),
            provider_signature=to_hex(sign_receipt(made.makers[0][0], whole)),
            prompt_salt=to_hex(SALT),
            micro_units=whole.micro_units,
            amount=whole.amount,
            artifact_sha256=whole.artifact_sha256,
            form=form_of(whole, is_paid=made.is_paid),
            is_withdrawable=True,
        )
        self.store.write_now(lambda t: receipts.keep(t, row, now_ms()))

    def shards(self, job_id: str) -> list[Shard]:
        """Of a job, as they are now."""
        return self.store.read_now(lambda c: shards.of_job(c, job_id))

    def _serve(self, evidence: Evidence, number: int, first: int, count: int) -> None:
        part = evidence.parts[number] if evidence.parts else None
        receipt = evidence.receipt if part is None else part.receipt
        signature = evidence.provider_signature if part is None else part.provider_signature
        pictures = evidence.pictures[first : first + count]
        self._deliver(receipt, signature, f"{receipt.job_id}-{number}", first, pictures)

    def _deliver(
        self, receipt: Receipt, signature: bytes, lease_id: str, first: int, pictures: Sequence[bytes]
    ) -> None:
        lease = NewLease(
            lease_id=lease_id,
            job_id=receipt.job_id,
            first_picture=first,
            pictures=len(pictures),
            provider=to_checksum_address(receipt.provider),
            session="s",
            deadline_ms=now_ms() + 10**6,
        )
        taken = self.store.write_now(lambda t: waiting.take(t, [lease], process="p", now_ms=now_ms()))
        assert taken[0] is not None
        result = NewResult(
            lease_id=lease.lease_id,
            receipt_hash=to_hex(receipt.hash),
            receipt_json=receipt.canonical_bytes().decode(),
            provider_signature=to_hex(signature),
            prompt_salt=to_hex(SALT),
            micro_units=receipt.micro_units,
            amount=receipt.amount,
        )
        rows = [
            NewPicture(
                picture=first + index,
                sha256=sha256(octets).hex(),
                bytes=len(octets),
                width=64,
                height=48,
                media_type="image/png",
            )
            for index, octets in enumerate(pictures)
        ]
        self.store.write_now(lambda t: results.deliver(t, result, rows, now_ms()))
        self.store.write_now(lambda t: results.accept(t, lease.lease_id, now_ms()))

    def receipt(self, job_id: str) -> receipts.Receipt:
        """As it is now."""
        found = self.store.read_now(lambda c: receipts.get(c, job_id))
        assert found is not None
        return found

    def job(self, job_id: str) -> StoredJob:
        """As it is now."""
        found = self.store.read_now(lambda c: jobs.get(c, job_id))
        assert found is not None
        return found

    async def close(self) -> None:
        """Everything but the socket."""
        for peer in self.peers:
            await peer.close()
        await self.logs.close()
        await self.node.close()
        await self.store.close()
        self.attester.close()


def _accept(transaction: Transaction, evidence: Evidence) -> None:
    receipt = evidence.receipt
    job = NewJob(
        job_id=receipt.job_id,
        owner="alice",
        client=receipt.client,
        fingerprint="f",
        prompts=["a cat"],
        request={"steps": 5},
        images=evidence.parameters.count,
        seed=1,
        request_salt=to_hex(SALT),
        request_hash=to_hex(receipt.request_hash),
        client_signature=None if receipt.client_signature is None else to_hex(receipt.client_signature),
        facts={"request": kept_request(evidence.request, evidence.parameters)},
        is_paid=evidence.form == receipts.Form.SETTLE,
    )
    run = NewShard(number=0, first_picture=0, pictures=evidence.parameters.count, rank_s=0.0, rank_step_s=1.0)
    jobs.add(transaction, job, [run], now_ms=now_ms())


def _new_receipt(evidence: Evidence, window_until_ms: int) -> NewReceipt:
    receipt = evidence.receipt
    return NewReceipt(
        job_id=receipt.job_id,
        receipt_hash=to_hex(receipt.hash),
        provider=to_checksum_address(receipt.provider),
        receipt_json=receipt.canonical_bytes().decode(),
        provider_signature=to_hex(evidence.provider_signature),
        prompt_salt=to_hex(SALT),
        micro_units=receipt.micro_units,
        amount=receipt.amount,
        artifact_sha256=receipt.artifact_sha256,
        form=evidence.form,
        window_until_ms=window_until_ms,
    )


@asynccontextmanager
async def serving(name: str, folder: Path, chain: TwoAttesterChain, **endorsing: Any) -> AsyncIterator[Hub]:
    """A hub whose attester answers until the block ends."""
    hub = Hub(name, folder / name, chain, **endorsing)
    application = create_application(
        title="hub",
        version="0",
        description="",
        registry=CollectorRegistry(),
        max_body_bytes=64 * 1024,
        larger_bodies=larger_bodies(hub.endorser, hub.network),
    )
    application.include_router(attestation_routes(hub.endorser, hub.network))
    ready = asyncio.Event()
    server = Server(application, hub.listener, max_connections=64)
    task = asyncio.create_task(server.serve(lambda _url: ready.set()))
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield hub
    finally:
        server.stop()
        await asyncio.wait_for(task, PATIENCE_S)
        await hub.close()


def client_address() -> str:
    """The client that signs."""
    return to_checksum_address(CLIENT.address)
