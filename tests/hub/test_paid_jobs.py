"""Paid jobs end to end: a deposit by the wallet, a signed request, two providers, one receipt, one settlement."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from typer.testing import CliRunner

from chain.client import NodeRefused
from chain.primitives.escrow import DEPOSIT, NOTICE_S, REQUEST_WITHDRAWAL
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import ESCROW, MINT_SPLIT, MINT_WITH_RECEIPT, MINTER
from chain.primitives.receipt import Receipt, attestation_digest, mint_split_digest
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32
from chain.primitives.worker_fields import octets_of
from hub.cli import app as hub_app
from hub.client import HubClient, HubClientError, HubSigning
from hub.ledger import books
from hub.ledger.accounts import HUB_FEE, client_deposit, provider_earnings
from hub.opening import DATABASE_NAME
from hub.orders.request import JobRequest
from hub.store import promises
from hub.store.promises import PromiseState
from hub.store.store import Store
from provider.minting.payment import Payment
from provider.storage.rows import ReceiptForm
from tests.hub.dialled import DialledProvider, serve_honestly
from tests.hub.running import CLIENT_KEYS, PATIENCE_S, PRICE, Chain, HubProcess, wait_until
from tests.hub.signing_clients import new_account, signed_order
from wallet.cli import app as wallet_app
from wallet.keystore import LIGHT_SCRYPT_N, save_key

pytestmark = pytest.mark.timeout(600)

HUB_ID: Final = "paid-hub"
FEE_RECIPIENT: Final = PrivateKey(b"\x3f" * 32)
FEE_BASIS_POINTS: Final = 500
PASSWORD: Final = "correct horse"
DAY_S: Final = 86_400
PICTURES: Final = 4
AMOUNT: Final = PICTURES * PRICE
TOTAL: Final = AMOUNT + AMOUNT * FEE_BASIS_POINTS // 10_000


@dataclass(frozen=True)
class Market:
    """A hub that takes a share of paid jobs, and two providers that take two pictures at a time."""

    chain: Chain
    hub: HubProcess
    providers: tuple[DialledProvider, DialledProvider]

    def client(self) -> PrivateKey:
        """Somebody with 10 AIT."""
        key = PrivateKey.generate()
        receipt_hash = keccak256(key.address)
        digest = attestation_digest(key.address, 10 * ATOMS_PER_AIT, receipt_hash)
        signature = self.chain.attester.sign(digest)
        self.chain.send(key, MINTER, MINT_WITH_RECEIPT.encode(key.address, 10 * ATOMS_PER_AIT, receipt_hash, signature))
        return key

    def deposit(self, key: PrivateKey, atoms: int, *, hub_id: str = HUB_ID, lasts_s: int = 30 * DAY_S) -> None:
        """As the wallet sends it."""
        self.chain.send(key, ESCROW, DEPOSIT.encode(hub_id, atoms, int(time.time()) + lasts_s))

    def deposited(self, key: PrivateKey) -> int:
        """What the chain holds of it for this hub."""
        held = self.chain.node.deposits(to_checksum_address(key.address)).deposits
        return sum(int(each.balance) for each in held if each.audience == HUB_ID)

    def order(self, key: PrivateKey, *, max_price: int = TOTAL, pictures: int = PICTURES) -> dict[str, Any]:
        """A signed, paid job, taken; raises HubClientError."""
        request = JobRequest(prompt="a cat", n=pictures, width=256, height=256, steps=5, max_price=str(max_price))
        request = request.model_copy(update={"payment": "escrow"})
        with HubClient(self.hub.url, CLIENT_KEYS["alice"], timeout_s=60) as client:
            return client.submit(request, signing=HubSigning(key, HUB_ID, self.chain.chain_id))[0]

    def paid(self, job_id: str) -> dict[str, Any]:
        """The job once the chain has paid for it."""
        job: dict[str, Any] = wait_until(lambda: job if (job := self.hub.job(job_id))["mint"]["height"] else None)
        return job

    @contextmanager
    def keeping_settlements(self) -> Iterator[None]:
        """The providers take attestations, and bring nothing to the chain."""
        for provider in self.providers:
            provider.mints = False
        try:
            yield
        finally:
            for provider in self.providers:
                provider.mints = True

    def delivered(self, job_id: str) -> dict[str, Any]:
        """The job once its providers have the attestation."""
        return dict(
            wait_until(lambda: job if (job := self.hub.job(job_id))["delivery"]["state"] == "delivered" else None)
        )

    def settlement(self, job: dict[str, Any]) -> tuple[Address, bytes]:
        """The call that its providers were sent."""
        told = [each for provider in self.providers for each in provider.attested]
        sent = next(each for each in told if each.receipt_hash == job["receipt_hash"])
        assert sent.settlement is not None
        return Payment.of(receipt_of(job), ReceiptForm.SETTLE, sent.settlement).call(octets_of(sent.signatures))

    def read(self, unit: Any) -> Any:
        """From the hub's own database."""
        store = Store(f"sqlite:///{self.hub.folder / 'data' / DATABASE_NAME}", None)
        try:
            return store.read_now(unit)
        finally:
            store.close_now()


async def take_time(provider: DialledProvider, assignment: Assignment) -> None:
    """So much that the other one gets its part, too."""
    await asyncio.sleep(0.5)
    await serve_honestly(provider, assignment)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, chain: Chain, provider_keys: list[PrivateKey]) -> Iterator[Market]:
    """Shared by the tests of this file: each has a client of its own."""
    fee = {"fee_recipient": to_checksum_address(FEE_RECIPIENT.address), "fee_basis_points": FEE_BASIS_POINTS}
    hub = HubProcess(tmp_path_factory.mktemp("paid"), chain, hub_id=HUB_ID, **fee).start()
    first, second = (
        DialledProvider(key, chain, behaviour=take_time).dial(hub.workers_url) for key in provider_keys[:2]
    )
    yield Market(chain, hub, (first, second))
    for provider in (first, second):
        provider.hang_up()
    assert hub.stop() == 0, hub.log


def receipt_of(job: dict[str, Any]) -> Receipt:
    return Receipt.from_json(json.dumps(job["receipt"]))


def mint_of(market: Market, receipt: Receipt) -> bytes:
    """What a stolen attester key would sign: a mint for a receipt that is to be settled."""
    providers, amounts = (list(each) for each in zip(*receipt.payouts(), strict=True))
    if receipt.shards is None:
        digest = attestation_digest(receipt.provider, receipt.amount, receipt.hash)
        signature = market.chain.attester.sign(digest)
        return MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, signature)
    signature = market.chain.attester.sign(mint_split_digest(receipt.chain_id, providers, amounts, receipt.hash))
    return MINT_SPLIT.encode(providers, amounts, receipt.hash, signature)


def test_from_the_wallets_deposit_to_both_providers(market: Market, tmp_path: Path) -> None:
    chain, client = market.chain, market.client()
    home = tmp_path / "home"
    save_key(home / "keys" / "alice.json", client, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
    environment = {"AITBC_HOME": str(home), "AITBC_NODE_URL": chain.url, "AITBC_PASSWORD": PASSWORD}
    words = ["escrow", "deposit", HUB_ID, "1", "--from", "alice", "--yes", "--json"]
    done = CliRunner().invoke(wallet_app, words, env=environment)
    assert done.exit_code == 0, done.output
    before = [chain.balance(provider.key) for provider in market.providers]
    fees_before = chain.balance(FEE_RECIPIENT)

    picture = str(tmp_path / "cat.png")
    words = ["submit", "a cat", "-n", str(PICTURES), "--steps", "5", "--width", "256", "--height", "256", "-o", picture]
    words += ["--escrow", "--from", "alice", "--hub-id", HUB_ID]  # Without an API key.
    words += ["--chain-id", str(chain.chain_id), "--max-price", "0.5", "--wait-mint", "--json"]
    environment |= {"AITBC_HUB_URL": market.hub.url, "AITBC_HUB_API_KEY": ""}
    done = CliRunner().invoke(hub_app, words, env=environment)
    assert done.exit_code == 0, done.output
    job = json.loads(done.stdout)
    receipt = receipt_of(job)
    assert (job["status"], job["mint"]["form"], receipt.amount) == ("done", "settle", AMOUNT)

    shares = dict(receipt.payouts())
    assert len(shares) == 2 and sum(shares.values()) == AMOUNT
    for provider, balance in zip(market.providers, before, strict=True):
        assert chain.balance(provider.key) - balance == shares[provider.key.address]
    assert chain.balance(FEE_RECIPIENT) - fees_before == TOTAL - AMOUNT
    assert market.deposited(client) == ATOMS_PER_AIT - TOTAL
    used = chain.node.receipt(receipt.hash)
    assert used.settlement is not None and used.settlement.fee == TOTAL - AMOUNT

    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps(job))
    words = ["receipt", "verify", str(answer), "--json"]
    verified = CliRunner().invoke(wallet_app, words, env=environment)
    assert verified.exit_code == 0, verified.output
    assert {check["name"]: check["passed"] for check in json.loads(verified.stdout)["checks"]}["attesters"] is True
    # Used up for good, in whatever form it is tried again.
    assert refusal(market, market.providers[0].key, mint_of(market, receipt)) == "receipt_used"
    name = to_checksum_address(client.address)
    wait_until(lambda: market.read(lambda c: books.balance(c, client_deposit(name))) == ATOMS_PER_AIT - TOTAL)
    assert market.read(lambda c: books.balance(c, HUB_FEE)) >= TOTAL - AMOUNT
    for who, share in shares.items():
        assert market.read(lambda c, who=who: books.balance(c, provider_earnings(to_checksum_address(who)))) >= share
    assert market.read(books.trial_balance) == 0
    kept = market.read(lambda c: promises.get(c, job["job_id"]))
    assert (kept.state, kept.amount) == (PromiseState.SETTLED, ATOMS_PER_AIT // 2)


def refusal(market: Market, key: PrivateKey, call_data: bytes) -> str | None:
    """Why the chain does not take this call to the minter, at once or in its block; None where it does."""
    nonce = market.chain.node.account(key.address).nonce
    signed = sign_transaction(key, chain_id=market.chain.chain_id, nonce=nonce, to=MINTER, data=call_data)
    try:
        market.chain.node.send_transaction(signed.raw)
        sent = market.chain.node.wait_for_transaction(signed.hash, timeout_s=60)
    except NodeRefused as refused:
        return refused.reason
    return None if sent.status == "success" else (sent.reason or "").partition(":")[0]


@pytest.mark.parametrize("first", ["mint", "settlement"])
def test_a_mint_and_a_settlement_at_once(market: Market, first: str) -> None:
    """One attester key was stolen: whichever comes first, the receipt pays once, and the hub's books say how."""
    chain, client = market.chain, market.client()
    market.deposit(client, ATOMS_PER_AIT)
    with market.keeping_settlements():
        job = market.delivered(market.order(client)["job_id"])
    receipt = receipt_of(job)
    calls = {"mint": (MINTER, mint_of(market, receipt)), "settlement": market.settlement(job)}
    before = [chain.balance(provider.key) for provider in market.providers]
    raws = {}
    for name, provider in zip(calls, market.providers, strict=True):
        nonce = chain.node.account(provider.key.address).nonce
        to, data = calls[name]
        raws[name] = sign_transaction(provider.key, chain_id=chain.chain_id, nonce=nonce, to=to, data=data)
    second = "settlement" if first == "mint" else "mint"
    chain.node.send_transaction(raws[first].raw)
    with pytest.raises(NodeRefused, match="receipt"):  # It waits, or it is used already.
        chain.node.send_transaction(raws[second].raw)
    assert chain.node.wait_for_transaction(raws[first].hash).status == "success"
    gained = [chain.balance(provider.key) - balance for provider, balance in zip(market.providers, before, strict=True)]
    assert sum(gained) == AMOUNT
    paid = market.paid(job["job_id"])
    assert paid["mint"]["state"] == "minted"
    kept = wait_until(
        lambda: found if (found := market.read(lambda c: promises.get(c, job["job_id"]))).state != "held" else None
    )
    if first == "settlement":
        assert (kept.state, market.deposited(client)) == (PromiseState.SETTLED, ATOMS_PER_AIT - TOTAL)
    else:  # Nothing was taken from the deposit, and it is free for other jobs.
        assert (kept.state, market.deposited(client)) == (PromiseState.RELEASED, ATOMS_PER_AIT)
    assert market.read(books.trial_balance) == 0


def test_who_cannot_pay_is_told_before_anybody_works(market: Market) -> None:
    client = market.client()
    served = [len(provider.assignments) for provider in market.providers]
    with pytest.raises(HubClientError, match="deposit_too_small"):
        market.order(client)
    market.deposit(client, ATOMS_PER_AIT, hub_id="another-hub")
    with pytest.raises(HubClientError, match="deposit_too_small"):
        market.order(client)
    market.deposit(client, TOTAL - 1)
    with pytest.raises(HubClientError, match="deposit_too_small"):
        market.order(client)
    # It must hold until the last second in which the job could be settled: two days after the request's end.
    hasty = market.client()
    market.deposit(hasty, ATOMS_PER_AIT, lasts_s=DAY_S)
    with pytest.raises(HubClientError, match="deposit_too_small"):
        market.order(hasty)
    assert [len(provider.assignments) for provider in market.providers] == served
    market.deposit(client, 1)
    assert market.paid(market.order(client)["job_id"])["status"] == "done"
    assert market.deposited(client) == 0


def test_one_deposit_counts_for_one_job_at_a_time(market: Market) -> None:
    client = market.client()
    market.deposit(client, 2 * TOTAL - 1)

    with ThreadPoolExecutor(6) as pool:
        taken = [job_id for job_id in pool.map(lambda _: order_of(market, client), range(6)) if job_id]
    assert len(taken) == 1
    assert market.paid(taken[0])["status"] == "done"
    left = market.deposited(client)
    assert left == TOTAL - 1
    # What is left counts again as soon as the settlement is final.
    again = wait_until(lambda: order_of(market, client, max_price=left, pictures=1))
    assert market.paid(again)["status"] == "done"


def order_of(market: Market, client: PrivateKey, **fields: int) -> str | None:
    """The job's id; None where the deposit is said to be too small."""
    try:
        return str(market.order(client, **fields)["job_id"])
    except HubClientError as error:
        if "deposit_too_small" not in str(error):
            raise
        return None


def test_a_withdrawal_asked_for_after_the_order_comes_too_late(market: Market) -> None:
    chain, client = market.chain, market.client()
    market.deposit(client, TOTAL)
    with market.keeping_settlements():
        job_id = market.order(client)["job_id"]
        chain.send(client, ESCROW, REQUEST_WITHDRAWAL.encode(HUB_ID, TOTAL))
        job = market.delivered(job_id)
    # Nobody waits: the notice is longer than any request may be settled.
    view = chain.node.deposit(to_checksum_address(client.address), HUB_ID)
    assert view.withdrawable_from > time.time() + NOTICE_S - DAY_S
    with pytest.raises(HubClientError, match="deposit_too_small"):
        market.order(client)
    chain.send(client, *market.settlement(job))  # Anybody may bring it.
    assert market.paid(job_id)["mint"]["form"] == "settle"
    assert market.deposited(client) == 0


def test_without_an_api_key_only_what_is_paid_is_taken(market: Market) -> None:
    assert market.hub.request("GET", "/v1/hub").json()["signed_orders"] == "paid"
    account = new_account()
    for path in ("/v1/jobs", "/v1/estimate"):
        body = signed_order(account, market.chain.chain_id, HUB_ID)
        unpaid = httpx.post(market.hub.url + path, json=body, timeout=PATIENCE_S)
        assert (unpaid.status_code, unpaid.json()["reason"]) == (402, "payment_required"), unpaid.text
    body = signed_order(account, market.chain.chain_id, HUB_ID, payment="escrow")
    poor = httpx.post(market.hub.url + "/v1/jobs", json=body, timeout=PATIENCE_S)
    assert (poor.status_code, poor.json()["reason"]) == (402, "deposit_too_small"), poor.text


def test_a_signed_request_is_one_job(market: Market) -> None:
    client = market.client()
    market.deposit(client, 3 * TOTAL)
    request = JobRequest(prompt="a cat", n=1, width=256, height=256, steps=5, max_price=str(TOTAL))
    with HubClient(market.hub.url, CLIENT_KEYS["alice"], timeout_s=60) as asking:
        signing = HubSigning(client, HUB_ID, market.chain.chain_id)
        job, signed = asking.submit(request.model_copy(update={"payment": "escrow"}), signing=signing)
    body = signed.model_dump(exclude_none=True)
    again = market.hub.request("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": "another"})
    assert again.status_code == 409, again.text
    assert again.json()["reason"] in ("nonce_used", "request_used")
    stolen = market.hub.request("POST", "/v1/jobs", json=body, api_key=CLIENT_KEYS["bob"])
    assert stolen.status_code == 409, stolen.text
    unsigned = {name: value for name, value in body.items() if name != "client_request"}
    refused = market.hub.request("POST", "/v1/jobs", json=unsigned)
    assert (refused.status_code, refused.json()["field"]) == (400, "client_request"), refused.text
    assert market.paid(job["job_id"])["status"] == "done"
    receipt = receipt_of(market.hub.job(job["job_id"]))
    assert receipt.client == to_checksum_address(client.address)
    settled = market.chain.node.receipt(receipt.hash).settlement
    assert settled is not None and settled.request_hash == to_hex(Hash32(receipt.request_hash))
