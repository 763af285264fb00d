"""From attested receipts to minted AIT, against a real validator process: retries, restarts, refusals."""

import asyncio
import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from chain.client import AsyncNodeClient, NodeClient, NodeError
from chain.node.folder import write_key_file
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import Receipt, attestation_digest, salted_prompt_hash
from chain.primitives.transaction import sign_transaction
from provider.attestations import Attestations
from provider.chain_account import ChainAccount
from provider.chain_identity import ChainIdentity
from provider.cli import app
from provider.engine import FinishedImage
from provider.errors import ConfigurationError
from provider.generation import GeneratedImage, ImageRequest
from provider.metrics import ProviderMetrics
from provider.minter import MAX_IN_FLIGHT, Minter
from provider.outbox import Outbox
from provider.outbox_rows import NewReceipt, ReceiptState
from provider.receipts import Offer, direct_origin, issue_receipt
from provider.registration import Registrar, RegistryEntry, find_provider
from wallet.keystore import LIGHT_SCRYPT_N, save_key

VALIDATOR = PrivateKey(b"\x61" * 32)
ATTESTER = PrivateKey(b"\x62" * 32)
STRANGER = PrivateKey(b"\x63" * 32)
PRICE = 10**18
CHAIN_ID = 777_001
TIMEOUT_S = 60.0


class RealNode:
    """A validator alone on its network, as a process that can be stopped, killed and started again."""

    def __init__(self, folder: Path, parameters: Parameters, chain_id: int = CHAIN_ID) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
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
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
            self._child = None


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    # Room for a few whole receipts per period, so that a cap can be met without thousands of mints.
    parameters = Parameters(provider_cap_atoms=50 * PRICE, receipt_ceiling_atoms=20 * PRICE)
    running = RealNode(tmp_path_factory.mktemp("node") / "node", parameters)
    running.start()
    yield running
    running.kill()


class Earner:
    """A provider's chain side, with receipts of pictures that it once made."""

    def __init__(self, outbox: Outbox, node_url: str, key: PrivateKey) -> None:
        self.key = key
        self.outbox = outbox
        self.client = AsyncNodeClient(node_url)
        self.account = ChainAccount(self.client, key)
        self.chain = ChainIdentity(outbox, self.client, key.address)
        self.minter = Minter(outbox, self.account, self.chain, ProviderMetrics(CollectorRegistry()))
        self.attestations = Attestations(outbox, self.client, self.minter.wake)

    def sign_receipt(self, number: int, *, seconds: float = 1.0, price: int = PRICE) -> Receipt:
        request = ImageRequest("a red circle", 30, 2.5, 512, 512, number)
        salt = number.to_bytes(32, "big")
        prompt_hash = salted_prompt_hash(salt, request.prompt)
        job_id = self.outbox.next_job_id(1_758_844_800.0)
        origin = direct_origin(job_id, "alice", request, prompt_hash, "aitbc/tiny-sd")
        picture = GeneratedImage(b"png %d" % number, round(seconds * 10**6))
        offer = Offer("aitbc/tiny-sd", "gpu_seconds", price, CHAIN_ID)
        signed = issue_receipt(self.key, offer, origin, FinishedImage(picture, 1.0, 100.0), prompt_hash=prompt_hash)
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
        self.outbox.accept_attestation(receipt.hash, attest(receipt))
        return receipt

    def state(self, receipt: Receipt) -> ReceiptState:
        stored = self.outbox.get(receipt.hash)
        assert stored is not None
        return stored.state

    async def mint_until(self, *wanted: tuple[Receipt, ReceiptState]) -> None:
        """Lets the minter work until every receipt is in its state."""
        deadline = time.monotonic() + TIMEOUT_S
        while any(self.state(receipt) is not state for receipt, state in wanted):
            assert time.monotonic() < deadline, [self.outbox.get(receipt.hash) for receipt, _ in wanted]
            with contextlib.suppress(NodeError):
                await self.minter.step()
            await asyncio.sleep(0.05)


def attest(receipt: Receipt, attester: PrivateKey = ATTESTER) -> bytes:
    return attester.sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))


Scenario = Callable[[Earner], Awaitable[None]]
WithEarner = Callable[[Scenario], None]
_key_numbers = iter(range(1, 1000))


@pytest.fixture
def key() -> PrivateKey:
    """A key that nobody used before: the node outlives the tests of this module."""
    return PrivateKey(b"\x70" * 30 + next(_key_numbers).to_bytes(2, "big"))


@pytest.fixture
def with_earner(node: RealNode, tmp_path: Path, key: PrivateKey) -> WithEarner:
    """Runs a scenario with a provider's chain side; call it again for a restart on the same data folder."""

    def run(scenario: Scenario) -> None:
        async def scene() -> None:
            with Outbox(tmp_path / "data") as outbox:
                earner = Earner(outbox, node.url, key)
                await earner.chain.learn()
                try:
                    await scenario(earner)
                finally:
                    await earner.client.close()

        asyncio.run(scene())

    return run


def balance(node: RealNode, address: bytes) -> int:
    with NodeClient(node.url) as client:
        return int(client.account("0x" + address.hex()).balance)


def test_a_receipt_is_minted_to_the_atom(node: RealNode, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Earner) -> None:
        receipt = earner.attested(1, seconds=1.234567)
        await earner.mint_until((receipt, ReceiptState.FINAL))
        stored = earner.outbox.get(receipt.hash)
        assert stored is not None
        assert stored.height is not None
        assert stored.transaction_hash is not None
        used = await earner.client.receipt(receipt.hash)
        assert (used.provider, int(used.units)) == (to_checksum_address(key.address), receipt.amount)

    with_earner(scenario)
    assert balance(node, key.address) == 1_234_567_000_000_000_000


def test_many_receipts_go_in_order_and_free_ones_too(node: RealNode, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Earner) -> None:
        paid = [earner.attested(number) for number in range(2 * MAX_IN_FLIGHT + 3)]
        free = earner.attested(100, price=0)
        await earner.mint_until(*((receipt, ReceiptState.FINAL) for receipt in [*paid, free]))
        assert int((await earner.client.receipt(free.hash)).units) == 0
        assert (await earner.account.view()).nonce == 2 * MAX_IN_FLIGHT + 4

    with_earner(scenario)
    assert balance(node, key.address) == (2 * MAX_IN_FLIGHT + 3) * PRICE


@pytest.mark.parametrize("is_delivered", [False, True])
def test_a_restart_sends_the_same_transaction_again(
    node: RealNode, with_earner: WithEarner, key: PrivateKey, is_delivered: bool
) -> None:
    """The process died after it wrote the transaction down: before it sent it, or after."""
    receipts: list[Receipt] = []

    async def dies(earner: Earner) -> None:
        receipt = earner.attested(1)
        receipts.append(receipt)
        call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, attest(receipt))
        signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=0, to=MINTER, data=call)
        earner.outbox.mark_submitted(receipt.hash, nonce=0, raw=signed.raw, transaction_hash=signed.hash)
        if is_delivered:
            await earner.client.send_transaction(signed.raw)

    async def resumes(earner: Earner) -> None:
        await earner.mint_until((receipts[0], ReceiptState.FINAL))
        assert (await earner.account.view()).nonce == 1

    with_earner(dies)
    with_earner(resumes)
    assert balance(node, key.address) == PRICE


def test_a_node_that_is_killed_and_comes_back(node: RealNode, with_earner: WithEarner, key: PrivateKey) -> None:
    """A killed node has forgotten its mempool; whatever was not final is sent again."""

    async def scenario(earner: Earner) -> None:
        receipts = [earner.attested(number) for number in range(5)]
        with contextlib.suppress(NodeError):
            await earner.minter.step()
        await asyncio.to_thread(node.kill)
        with pytest.raises(NodeError):
            await earner.minter.step()
        await asyncio.to_thread(node.start)
        await earner.mint_until(*((receipt, ReceiptState.FINAL) for receipt in receipts))

    with_earner(scenario)
    assert balance(node, key.address) == 5 * PRICE


def test_a_nonce_that_another_transaction_took(node: RealNode, with_earner: WithEarner, key: PrivateKey) -> None:
    """Somebody used the same key elsewhere: our transaction can never be, so another is signed."""

    async def scenario(earner: Earner) -> None:
        first, second = earner.attested(1), earner.attested(2)
        for receipt, nonce in ((first, 0), (second, 1)):
            call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, attest(receipt))
            signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=MINTER, data=call)
            earner.outbox.mark_submitted(receipt.hash, nonce=nonce, raw=signed.raw, transaction_hash=signed.hash)
        await Registrar(earner.account).register(entry())
        await earner.mint_until((first, ReceiptState.FINAL), (second, ReceiptState.FINAL))
        assert (await earner.account.view()).nonce == 3

    with_earner(scenario)
    assert balance(node, key.address) == 2 * PRICE


def test_a_lost_earlier_transaction_holds_nobody_up(with_earner: WithEarner, key: PrivateKey) -> None:
    """A nonce in the middle is missing: the later transaction is signed anew for the gap."""

    async def scenario(earner: Earner) -> None:
        receipt = earner.attested(1)
        call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, attest(receipt))
        signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=5, to=MINTER, data=call)
        earner.outbox.mark_submitted(receipt.hash, nonce=5, raw=signed.raw, transaction_hash=signed.hash)
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert (await earner.account.view()).nonce == 1

    with_earner(scenario)


def test_somebody_else_sent_the_mint(node: RealNode, with_earner: WithEarner, key: PrivateKey) -> None:
    """Whoever has the attestation may send it; the tokens are the provider's all the same."""

    async def scenario(earner: Earner) -> None:
        receipt = earner.sign_receipt(1)
        call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, attest(receipt))
        friend = PrivateKey(b"\x71" * 32)
        nonce = (await earner.client.account(friend.address)).pending_nonce
        signed = sign_transaction(friend, chain_id=CHAIN_ID, nonce=nonce, to=MINTER, data=call)
        await earner.client.send_transaction(signed.raw)
        await earner.client.wait_for_transaction(signed.hash)
        earner.outbox.accept_attestation(receipt.hash, attest(receipt))
        await earner.mint_until((receipt, ReceiptState.FINAL))
        stored = earner.outbox.get(receipt.hash)
        assert stored is not None
        assert stored.transaction_hash == signed.hash

    with_earner(scenario)
    assert balance(node, key.address) == PRICE


def test_what_can_never_be_minted_is_refused_with_the_reason(with_earner: WithEarner) -> None:
    async def scenario(earner: Earner) -> None:
        good = earner.attested(1)
        forged = earner.sign_receipt(2)
        earner.outbox.accept_attestation(forged.hash, attest(forged, STRANGER))
        too_much = earner.attested(3, seconds=21)
        last = earner.attested(4)
        await earner.mint_until(
            (good, ReceiptState.FINAL),
            (forged, ReceiptState.REFUSED),
            (too_much, ReceiptState.REFUSED),
            (last, ReceiptState.FINAL),
        )
        for receipt, reason in ((forged, "not_an_attester"), (too_much, "receipt_ceiling")):
            stored = earner.outbox.get(receipt.hash)
            assert stored is not None
            assert stored.reason is not None
            assert stored.reason.startswith(reason)
        # A proper attestation makes up for the forged one.
        await earner.attestations.accept(forged.hash, attest(forged))
        await earner.mint_until((forged, ReceiptState.FINAL))

    with_earner(scenario)


def test_a_node_of_another_network_costs_no_receipt(with_earner: WithEarner) -> None:
    async def scenario(earner: Earner) -> None:
        receipt = earner.attested(1)
        earner.chain.chain_id = CHAIN_ID + 1  # To this node, what follows is of another network: and the reverse.
        await earner.minter.step()
        assert earner.state(receipt) is ReceiptState.ATTESTED
        earner.chain.chain_id = CHAIN_ID
        await earner.mint_until((receipt, ReceiptState.FINAL))

    with_earner(scenario)


def test_a_cap_of_the_period_is_waited_out(node: RealNode, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Earner) -> None:
        within = [earner.attested(number, seconds=20) for number in range(2)]
        above = earner.attested(10, seconds=20)
        below = earner.attested(11, seconds=10)
        await earner.mint_until(*((receipt, ReceiptState.FINAL) for receipt in [*within, below]))
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            stored = earner.outbox.get(above.hash)
            assert stored is not None
            if stored.state is ReceiptState.ATTESTED and stored.attempts >= 2:
                break
            assert time.monotonic() < deadline, stored
            await earner.minter.step()
            await asyncio.sleep(0.1)
        assert stored.reason == "provider_cap"
        assert stored.next_attempt_ms > stored.updated_ms

    with_earner(scenario)
    assert balance(node, key.address) == 50 * PRICE


def test_attestations_are_checked_against_the_chain(with_earner: WithEarner) -> None:
    async def scenario(earner: Earner) -> None:
        receipt = earner.sign_receipt(1)
        with pytest.raises(Exception, match="not signed by an attester") as caught:
            await earner.attestations.accept(receipt.hash, attest(receipt, STRANGER))
        assert getattr(caught.value, "reason", None) == "not_an_attester"
        assert earner.state(receipt) is ReceiptState.SIGNED
        assert await earner.attestations.accept(receipt.hash, attest(receipt)) is ReceiptState.ATTESTED
        assert await earner.attestations.accept(receipt.hash, attest(receipt)) is ReceiptState.ATTESTED
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert await earner.attestations.accept(receipt.hash, attest(receipt)) is ReceiptState.FINAL

    with_earner(scenario)


def entry(**changes: Any) -> RegistryEntry:
    standard = RegistryEntry("http://127.0.0.1:8000", ("aitbc/tiny-sd",), PRICE, "gpu_seconds", 0)
    return dataclasses.replace(standard, **changes)


def test_the_registry_entry_is_kept_true(with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Earner) -> None:
        registrar = Registrar(earner.account)
        assert await registrar.view() is None
        payout = to_checksum_address(STRANGER.address)
        await registrar.ensure(entry(payout=payout))
        with structlog.testing.capture_logs() as logs:
            await registrar.ensure(entry(payout=payout))
            await registrar.ensure(entry(payout=to_checksum_address(key.address)))
        assert [(log["event"], log["payout"]) for log in logs] == [("payout_unchanged", payout)]
        assert (await earner.account.view()).nonce == 1
        await registrar.ensure(entry(price_per_unit=5, models=("a", "b"), unit_type="images", vram_mib=6144))
        view = await find_provider(earner.client, key.address)
        assert view is not None
        assert (view.active, int(view.price_per_unit), view.models, view.payout) == (True, 5, ["a", "b"], payout)
        receipt = earner.attested(1)
        before = (await earner.client.account(STRANGER.address)).balance
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert (await earner.client.account(STRANGER.address)).balance == before + PRICE
        await registrar.withdraw()
        view = await find_provider(earner.client, key.address)
        assert view is not None
        assert not view.active

    with_earner(scenario)


def test_a_data_folder_of_another_network_is_refused(with_earner: WithEarner, tmp_path: Path, key: PrivateKey) -> None:
    async def nothing(_earner: Earner) -> None:
        return None

    with Outbox(tmp_path / "data") as outbox:
        outbox.bind("genesis_hash", "0x" + "00" * 32)
    with pytest.raises(ConfigurationError, match="belongs to genesis_hash"):
        with_earner(nothing)


def test_the_commands_for_the_registry_entry(node: RealNode, tmp_path: Path, key: PrivateKey) -> None:
    save_key(tmp_path / "key.json", key, "password", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password").write_text("password")
    who = ["--keystore", str(tmp_path / "key.json"), "--node-url", node.url, "--json"]

    def run(*words: str, exit_code: int = 0) -> dict[str, Any]:
        secret = [] if words[0] == "status" else ["--password-file", str(tmp_path / "password")]
        result = CliRunner().invoke(app, [*words, *who, *secret])
        assert result.exit_code == exit_code, result.output
        fields: dict[str, Any] = json.loads(result.stdout) if exit_code == 0 else {"error": result.stderr}
        return fields

    assert run("status")["registered"] is False
    assert "not registered" in run("withdraw", exit_code=1)["error"]
    registered = run("register", "--endpoint", "https://gpu.example.org", "--price-per-unit", "7", "--vram-mib", "6144")
    assert registered["provider"] == to_checksum_address(key.address)
    assert "already registered" in run("register", exit_code=1)["error"]
    run("update", "--price-per-unit", "8", "--model", "runwayml/stable-diffusion-v1-5")
    entry_now = run("status")
    assert (entry_now["registered"], entry_now["endpoint"]) == (True, "https://gpu.example.org")
    assert (entry_now["price_per_unit"], entry_now["vram_mib"]) == ("8", 6144)
    assert entry_now["models"] == ["runwayml/stable-diffusion-v1-5"]
    run("withdraw")
    assert run("status")["registered"] is False
