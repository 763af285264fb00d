"""The whole loop with real processes: a job, its mint, a transfer, every replay refused; kill −9, stop, start again."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from chain.client import NodeClient, NodeError, NodeRefused
from chain.primitives.hexadecimal import parse_address, parse_hex
from chain.primitives.keys import PrivateKey, recover_address
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER, MODULES
from chain.primitives.receipt import Receipt, attestation_digest, recover_provider
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT
from tests.genesis.conftest import ORDERED_ONLY

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def devnet(start_devnet: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = start_devnet(tmp_path_factory.mktemp("devnet") / "net")
    yield running
    running.child.kill()


@pytest.fixture
def node(devnet: Any) -> Iterator[NodeClient]:
    with NodeClient(devnet.node_url) as client:
        yield client


def hub_of(devnet: Any) -> httpx.Client:
    hub = devnet.description["hub"]
    return httpx.Client(base_url=hub["url"], headers={"Authorization": f"Bearer {hub['api_key']}"}, timeout=300)


def key_of(devnet: Any, name: str) -> PrivateKey:
    return PrivateKey(parse_hex(devnet.account(name)["private_key"], length=32))


def pixel(picture: Image.Image, x: int, y: int) -> bytes:
    """Red, green and blue."""
    return picture.convert("RGB").crop((x, y, x + 1, y + 1)).tobytes()


def run_job(devnet: Any, **fields: Any) -> dict[str, Any]:
    """A small job to its minted end, as the hub tells it."""
    with hub_of(devnet) as hub:
        request = {"prompt": "a green square on a white background", "width": 256, "height": 256, "steps": 5} | fields
        request["wait_s"] = 280
        answer = hub.post("/v1/jobs", json=request)
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            job["mint"] = hub.get(f"/v1/jobs/{job['job_id']}").json()["mint"]
            if job["mint"]["state"] == "minted":
                return job
            time.sleep(0.1)
    raise AssertionError(f"not minted: {job['mint']}")


def wallet(devnet: Any, *arguments: str) -> dict[str, Any]:
    """The JSON answer of an `aitbc wallet` command with the devnet's folder as its home."""
    command = [sys.executable, "-m", "genesis.cli", "wallet", *arguments, "--json", "--home", str(devnet.folder)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "AITBC_NODE_URL": devnet.node_url},
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_description_has_the_shape_that_tools_attach_to(devnet: Any, node: NodeClient) -> None:
    description = devnet.description
    assert stat.S_IMODE((devnet.folder / "devnet.json").stat().st_mode) == 0o600
    assert 2**31 < description["chain_id"] < 2**32
    status = node.status()
    assert (status.chain_id, status.genesis_hash) == (description["chain_id"], description["genesis_hash"])
    assert [each["role"] for each in description["nodes"]] == ["follower"] + ["validator"] * 4
    assert len({each["url"] for each in description["nodes"]}) == 5
    assert len(node.validators().validators) == 4
    assert len(description["providers"]) == 2
    assert int(description["wallet_network"]["chainId"], 16) == description["chain_id"]
    assert description["wallet_network"]["rpcUrls"] == [f"{devnet.node_url}/rpc"]
    assert {name: parse_address(text) for name, text in description["modules"].items()} == MODULES
    for account in description["accounts"]:
        key = PrivateKey(parse_hex(account["private_key"], length=32))
        assert key.address == parse_address(account["address"])
    assert {"attester", "alice", "bob"} <= {account["name"] for account in description["accounts"]}


def test_a_market_is_there_and_its_quote_asset_is_worth_nothing(devnet: Any, node: NodeClient) -> None:
    told = devnet.description["market"]
    (market,) = node.markets().items
    assert (told["market"], told["quote"]) == (market.market, market.quote.asset)
    assert (market.base.symbol, market.quote.symbol, market.status) == ("AIT", "DUSD", "open")
    asset = node.asset(market.quote.asset)
    assert (asset.name, asset.decimals) == ("Devnet dollar, worth nothing", 6)
    assert asset.issuer == told["issuer"] == devnet.account("issuer")["address"]
    assert (asset.freezable, asset.clawback, asset.authorization_required) == (False, False, False)
    for name in ("alice", "bob"):
        held = node.account_assets(devnet.account(name)["address"]).balances
        assert [int(each.balance) for each in held if each.symbol == "DUSD"] == [10_000 * 10**6]
    # Somebody who never had any AIT can buy some: the asset makes a member.
    password = ("--password-file", str(devnet.folder / "keys" / "password"))
    placed = wallet(devnet, "market", "buy", "AIT/DUSD", "0.5", "0.1234", "--from", "bob", "--yes", *password)
    assert placed["open_lots"] == "50"
    assert wallet(devnet, "market", "cancel", str(placed["order_id"]), "--from", "bob", "--yes", *password)


def test_first_job_left_pictures_and_all_of_the_supply(devnet: Any, node: NodeClient) -> None:
    summary = devnet.summary
    assert len(summary["images"]) == 4
    for path in summary["images"]:
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("PNG", (256, 256))
            red, green, blue = pixel(picture, 128, 128)
            assert red > 150 > max(green, blue)  # The circle.
            red, green, blue = pixel(picture, 8, 8)
            assert blue > 150 > max(red, green)  # Its background.
    served = node.receipt(summary["receipt_hash"])
    assert served is not None
    assert (str(served.units), served.transaction_hash) == (summary["amount"], summary["transaction_hash"])
    assert served.finalized
    assert int(summary["amount"]) > 0
    assert sum(map(int, summary["balances"].values())) == int(summary["supply"]) == int(summary["amount"])
    assert summary["balances"]["alice"] == summary["balances"]["bob"] == "0"


def test_both_providers_had_a_share_and_were_paid_in_proportion(devnet: Any) -> None:
    summary = devnet.summary
    shares = summary["shares"]
    assert [share["name"] for share in shares] == ["provider-1", "provider-2"]
    assert sum(share["pictures"] for share in shares) == 4
    assert all(share["pictures"] > 0 for share in shares)
    assert sum(int(share["amount"]) for share in shares) == int(summary["amount"])
    units = sum(Decimal(share["units"]) for share in shares)
    for share in shares:
        assert summary["balances"][share["name"]] == share["amount"]
        exact = int(summary["amount"]) * Decimal(share["units"]) / units
        assert abs(int(share["amount"]) - exact) < 1


def test_receipt_attestation_and_picture_belong_together(devnet: Any, node: NodeClient) -> None:
    job = run_job(devnet, seed=7)
    receipt = Receipt.from_object(job["receipt"])
    assert "0x" + receipt.hash.hex() == job["receipt_hash"]
    assert recover_provider(receipt, parse_hex(job["provider_signature"])) == receipt.provider
    attester = recover_address(
        attestation_digest(receipt.provider, receipt.amount, receipt.hash), parse_hex(job["attestation"])
    )
    assert attester == key_of(devnet, "attester").address
    with hub_of(devnet) as hub:
        picture = hub.get(f"/v1/jobs/{job['job_id']}/pictures/0").content
    with Image.open(BytesIO(picture)) as decoded:
        assert decoded.size == (256, 256)
    transaction = node.transaction(job["mint"]["transaction_hash"])
    assert transaction is not None
    assert transaction.status == "success"


def test_a_receipt_is_minted_once(devnet: Any, node: NodeClient) -> None:
    job = run_job(devnet)
    receipt = Receipt.from_object(job["receipt"])
    call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, parse_hex(job["attestation"]))
    before = node.supply()
    replay = sign_transaction(
        key_of(devnet, "alice"), chain_id=devnet.description["chain_id"], nonce=0, to=MINTER, data=call
    )
    with pytest.raises(NodeRefused) as refused:
        node.send_transaction(replay.raw)
    assert refused.value.reason == "receipt_used"
    more = MINT_WITH_RECEIPT.encode(receipt.provider, 10**20, receipt.hash, parse_hex(job["attestation"]))
    forged = sign_transaction(
        key_of(devnet, "alice"), chain_id=devnet.description["chain_id"], nonce=0, to=MINTER, data=more
    )
    with pytest.raises(NodeRefused):
        node.send_transaction(forged.raw)
    assert node.supply() == before


def test_a_provider_pays_and_the_wallet_shows_it(devnet: Any) -> None:
    job = run_job(devnet)
    provider = next(
        each["name"] for each in devnet.description["providers"] if each["address"] == job["receipt"]["provider"]
    )
    password = ("--password-file", str(devnet.folder / "keys" / "password"))
    sent = wallet(devnet, "send", devnet.account("alice")["address"], "0.01", "--from", provider, "--yes", *password)
    assert sent["status"] == "success"
    balance = wallet(devnet, "balance", "alice")
    assert [entry["balance_atoms"] for entry in balance["accounts"]] == [str(ATOMS_PER_AIT // 100)]


def test_both_providers_get_their_turn(devnet: Any) -> None:
    jobs = [run_job(devnet) for _ in range(2)]
    assert len({job["receipt_hash"] for job in jobs}) == 2
    assert {job["provider"] for job in jobs} == {each["address"] for each in devnet.description["providers"]}


def test_a_second_devnet_in_the_same_folder_is_refused(devnet: Any) -> None:
    command = [sys.executable, "-m", "genesis.cli", "devnet", "--once", "--dir", str(devnet.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert "--dir" in done.stderr
    assert (devnet.folder / "devnet.json").exists()


def test_a_demo_bears_the_loss_of_any_validator_while_it_runs(tmp_path: Path) -> None:
    """Somebody kills one as soon as the nodes answer: before the providers register, the job, and its mint."""
    victim = f"validator-{random.randint(1, 4)}"
    command = [sys.executable, "-m", "genesis.cli", "devnet", "--once", "--json", "--dir", str(tmp_path / "net")]
    environment = {**os.environ, **ORDERED_ONLY}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        told = ""
        while "4 validators and a follower answer" not in told:
            told = demo.stderr.readline()
            assert told, "the demo ended before its nodes answered"
        (pid,) = [
            each.pid for each in psutil.Process(demo.pid).children() if any(victim in word for word in each.cmdline())
        ]
        os.kill(pid, signal.SIGKILL)
        told = demo.stderr.read()
        assert demo.wait(180) == 0, told
        summary = json.loads(demo.stdout.read())
    assert f"{victim} has ended (killed by SIGKILL)" in told
    assert int(summary["supply"]) == int(summary["amount"]) > 0


def test_a_damaged_chain_is_a_plain_failure(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    (folder / "validator-1" / "chain").mkdir(parents=True)
    (folder / "validator-1" / "chain" / "CURRENT").write_text("garbage\n")
    command = [sys.executable, "-m", "genesis.cli", "devnet", "--once", "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert "fault in AITBC" not in done.stderr


def test_a_validator_and_the_follower_may_be_killed(devnet: Any) -> None:
    os.kill(devnet.node("validator-2")["pid"], signal.SIGKILL)
    run_job(devnet)
    first_pid = devnet.node("follower")["pid"]
    os.kill(first_pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while devnet.node("follower")["pid"] == first_pid:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with NodeClient(devnet.node_url) as node:
        while True:
            try:
                node.status()
                break
            except NodeError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    run_job(devnet)


def test_without_a_quorum_the_devnet_ends_and_the_next_takes_everything_up(
    devnet: Any, start_devnet: Callable[..., Any], still_running: Callable[[list[int], float], list[int]]
) -> None:
    with NodeClient(devnet.node_url) as node:
        supply = int(node.supply().supply)
    os.kill(devnet.node("validator-1")["pid"], signal.SIGKILL)
    assert devnet.child.wait(180) == 1
    told = " ".join(devnet.child.stderr.read().split())
    assert "validator-2 has ended (killed by SIGKILL); the chain goes on without it: 3 of 4 validators" in told
    assert "follower has ended (killed by SIGKILL); it is started again" in told
    assert "2 of 4 validators left no quorum of 3" in told
    assert not still_running(devnet.pids(), 60)
    assert not (devnet.folder / "devnet.json").exists()
    # Brackets, which a terminal library takes for markup.
    again = start_devnet(devnet.folder, "--prompt", "a blue circle [/ or so]")
    try:
        assert again.description["genesis_hash"] == devnet.description["genesis_hash"]
        assert again.description["market"] == devnet.description["market"]  # Taken up, not made a second time.
        assert int(again.summary["supply"]) == supply + int(again.summary["amount"])
        assert again.stop() == 0
        assert not still_running(again.pids(), 60)
        for name in ("provider-1", "provider-2"):  # They left before their hub did: it had concluded what they brought.
            end = (devnet.folder / "logs" / f"{name}.log").read_text().rpartition('"event": "draining"')[2]
            assert '"event": "stopped"' in end
            assert "left_before_hubs_concluded" not in end
    finally:
        again.child.kill()
