"""What the tests of minting share: a real validator process, and a provider's chain side that earns at it."""

import asyncio
import contextlib
import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from chain.client import AsyncNodeClient, NodeClient, NodeError
from chain.node.folder import write_key_file
from chain.primitives.keys import PrivateKey
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import Receipt, attestation_digest, salted_prompt_hash
from chain.primitives.request_parameters import RequestParameters
from genesis.processes import free_port
from provider.minting.attestations import Attestations
from provider.minting.chain_account import ChainAccount
from provider.minting.chain_identity import ChainIdentity
from provider.minting.minter import Minter
from provider.monitoring.metrics import ProviderMetrics
from provider.receipts.issuing import Offer, ServedWork, direct_origin, issue_receipt
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.rows import NewJob, NewReceipt, ReceiptState, StoredReceipt

VALIDATOR = PrivateKey(b"\x61" * 32)
ATTESTER = PrivateKey(b"\x62" * 32)
PRICE = 10**18
CHAIN_ID = 777_001
TIMEOUT_S = 60.0


class RealNode:
    """A validator alone on its network, as a process that can be killed and started again."""

    def __init__(self, folder: Path, parameters: Parameters, chain_id: int = CHAIN_ID) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        network = Network(
            chain_id=chain_id,
            name="minting",
            validators=(Validator(VALIDATOR.address, VALIDATOR.public_key, ""),),
            attesters=(AttesterAllowance(ATTESTER.address, 10**24, 1_000),),
            parameters=parameters,
            block_interval_ms=100,
        )
        (folder / "network.toml").write_text(network_to_toml(network))
        write_key_file(folder / "validator.key", VALIDATOR)
        words = ["init", "--network", str(folder / "network.toml"), "--key-file", str(folder / "validator.key")]
        subprocess.run(self._command(*words), check=True, capture_output=True)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "genesis.cli", "node", *words, "--data-dir", str(self._folder / "data")]

    def start(self) -> None:
        """Returns once it answers."""
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                self._command("run", "--port", str(self.port), "--log-level", "warning"), stdout=log, stderr=log
            )
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            assert self._child.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut."""
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
            self._child = None

    def balance(self, address: bytes) -> int:
        """Atoms."""
        with NodeClient(self.url) as client:
            return int(client.account("0x" + address.hex()).balance)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node that a module's tests share."""
    # Room for a few whole receipts per period, so that a cap can be met without thousands of mints.
    parameters = Parameters(provider_cap_atoms=50 * PRICE, receipt_ceiling_atoms=20 * PRICE)
    running = RealNode(tmp_path_factory.mktemp("node") / "node", parameters)
    running.start()
    yield running
    running.kill()


class Earner:
    """A provider's chain side, with receipts of pictures that it once made."""

    def __init__(self, database: Database, node_url: str, key: PrivateKey) -> None:
        self.key = key
        self.registry = CollectorRegistry()
        self.outbox = Outbox(database)
        self._job_log = JobLog(database)
        self.client = AsyncNodeClient(node_url)
        self.account = ChainAccount(self.client, key)
        self.chain = ChainIdentity(FolderIdentity(database), self.client, key.address)
        self.minter = Minter(self.outbox, self.account, self.chain, ProviderMetrics(self.registry))
        self.attestations = Attestations(self.outbox, self.client, self.minter.wake)

    def sign_receipt(self, number: int, *, seconds: float = 1.0, price: int = PRICE) -> Receipt:
        """A receipt of a picture, in the outbox."""
        new = NewJob("alice", "plan", "aitbc/tiny-sd", 1, b"asked")
        job_id = self._job_log.accept(new, 1_758_844_800.0).record.job_id
        salt = number.to_bytes(32, "big")
        prompt_hash = salted_prompt_hash(salt, "a red circle")
        offer = Offer("aitbc/tiny-sd", "gpu_seconds", price, CHAIN_ID)
        origin = direct_origin(
            job_id,
            "alice",
            provider=self.key.address,
            chain_id=CHAIN_ID,
            prompt_hash=prompt_hash,
            parameters=RequestParameters(width=512, height=512, steps=30, guidance=2.5, seed=number),
        )
        work = ServedWork((hashlib.sha256(b"png %d" % number).digest(),), round(seconds * 10**6), 1.0, 100.0)
        signed = issue_receipt(self.key, offer, origin, work, prompt_hash=prompt_hash)
        self.outbox.add(
            NewReceipt(
                receipt_hash=signed.receipt_hash,
                hub_id="",
                job_id=job_id,
                key_name="alice",
                request_fingerprint=b"f",
                receipt_json=signed.receipt.canonical_bytes(),
                provider_signature=signed.signature,
                prompt_salt=salt,
                answer_json="{}",
            )
        )
        return signed.receipt

    def attested(self, number: int, **options: Any) -> Receipt:
        """A receipt with its attester's word, as if it had been checked."""
        receipt = self.sign_receipt(number, **options)
        self.outbox.accept_attestation(receipt.hash, self.attest(receipt))
        return receipt

    def attest(self, receipt: Receipt, attester: PrivateKey = ATTESTER) -> bytes:
        """An attester's signature."""
        return attester.sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))

    def stored(self, receipt: Receipt) -> StoredReceipt:
        """What the outbox has."""
        found = self.outbox.get(receipt.hash)
        assert found is not None
        return found

    def state(self, receipt: Receipt) -> ReceiptState:
        """How far it has come."""
        return self.stored(receipt).state

    async def mint_until(self, *wanted: tuple[Receipt, ReceiptState]) -> None:
        """Lets the minter work until every receipt is in its state."""
        deadline = time.monotonic() + TIMEOUT_S
        while any(self.state(receipt) is not state for receipt, state in wanted):
            assert time.monotonic() < deadline, [self.outbox.get(receipt.hash) for receipt, _ in wanted]
            with contextlib.suppress(NodeError):
                await self.minter.step()
            await asyncio.sleep(0.05)


Scenario = Callable[[Earner], Awaitable[None]]
WithEarner = Callable[..., None]
_key_numbers = iter(range(1, 1000))


@pytest.fixture
def key() -> PrivateKey:
    """A key that nobody used before: the node outlives the tests of its module."""
    return PrivateKey(b"\x70" * 30 + next(_key_numbers).to_bytes(2, "big"))


@pytest.fixture
def with_earner(node: RealNode, tmp_path: Path, key: PrivateKey) -> WithEarner:
    """Runs a scenario with a provider's chain side; call it again for a restart on the same data folder."""

    def run(scenario: Scenario, *, learns: bool = True) -> None:
        async def scene() -> None:
            with Database(tmp_path / "data") as database:
                earner = Earner(database, node.url, key)
                if learns:
                    await earner.chain.learn()
                try:
                    await scenario(earner)
                finally:
                    await earner.client.close()

        asyncio.run(scene())

    return run
