"""The plan's Solidity contract, compiled by solc and deployed on an EVM chain (anvil), accepts what this project signs.

Every transaction to it is signed by our own `sign_transaction`, so an EVM node also judges our envelopes.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.primitives import modules
from chain.primitives.abi import Function
from chain.primitives.contract_abi import contract_abi
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.units import compute_amount

pytestmark = pytest.mark.node

CHAIN_ID = 3_141_592_653
ATTESTER = PrivateKey(b"\x0a" * 32)
PROVIDER = PrivateKey(b"\x0b" * 32)
STRANGER = PrivateKey(b"\x0c" * 32)

SET_MINTER = Function("setMinter(address newMinter)")


class Evm:
    """An anvil process, spoken to over JSON-RPC."""

    def __init__(self, url: str) -> None:
        self._url = url

    def call(self, method: str, *parameters: Any) -> Any:
        """The result; fails the test on an error."""
        answer = self._ask(method, parameters)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def refusal(self, method: str, *parameters: Any) -> str:
        """The error's message; fails the test where there is none."""
        return str(self._ask(method, parameters)["error"]["message"])

    def _ask(self, method: str, parameters: tuple[Any, ...]) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer: dict[str, Any] = httpx.post(self._url, json=request, timeout=30).json()
        return answer

    def mined(self, transaction_hash: str) -> dict[str, Any]:
        """The EVM's receipt of a transaction; anvil mines each at once."""
        deadline = time.monotonic() + 20
        while (receipt := self.call("eth_getTransactionReceipt", transaction_hash)) is None:
            assert time.monotonic() < deadline, "not mined"
            time.sleep(0.02)
        found: dict[str, Any] = receipt
        return found

    def deploy(self, bytecode: bytes) -> Address:
        """The address of a new contract, made by an account that anvil holds the key of."""
        deployer = self.call("eth_accounts")[0]
        receipt = self.mined(self.call("eth_sendTransaction", {"from": deployer, "data": to_hex(bytecode)}))
        assert receipt["status"] == "0x1"
        return parse_address(receipt["contractAddress"])

    def send(self, key: PrivateKey, to: Address, call_data: bytes) -> dict[str, Any]:
        """Sends a call in our own envelope; the EVM's receipt."""
        transaction = self._signed(key, to, call_data)
        sent_hash = self.call("eth_sendRawTransaction", to_hex(transaction.raw))
        assert sent_hash == to_hex(transaction.hash)
        return self.mined(sent_hash)

    def _signed(self, key: PrivateKey, to: Address, call_data: bytes) -> Transaction:
        address = to_hex(key.address)
        self.call("anvil_setBalance", address, hex(10**20))
        nonce = int(self.call("eth_getTransactionCount", address, "pending"), 16)
        return sign_transaction(
            key, chain_id=CHAIN_ID, nonce=nonce, to=to, data=call_data, gas_limit=300_000, max_fee=10**11
        )

    def view(self, to: Address, function: Function, *arguments: Any) -> Any:
        """What a view function returns."""
        request = {"to": to_hex(to), "data": to_hex(function.encode(*arguments))}
        return function.decode_output(parse_hex(self.call("eth_call", request, "latest")))[0]

    def revert_reason(self, to: Address, call_data: bytes) -> str:
        """Why a call is refused."""
        return self.refusal("eth_call", {"to": to_hex(to), "data": to_hex(call_data)}, "latest")


@pytest.fixture(scope="module")
def compiled(node_tools: Path) -> dict[str, Any]:
    """Contract name → solc's output for it."""
    folder = Path(__file__).parent
    sources = {path.name: {"content": path.read_text()} for path in sorted(folder.glob("*.sol"))}
    selection = {"*": {"*": ["abi", "evm.bytecode.object", "evm.methodIdentifiers"]}}
    request = {"language": "Solidity", "sources": sources, "settings": {"outputSelection": selection}}
    output = subprocess.run(
        [node_tools / "solcjs", "--standard-json"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    answer = json.loads(output[output.index("{") :])
    assert [entry for entry in answer.get("errors", []) if entry["severity"] == "error"] == []
    return {name: contract for contracts in answer["contracts"].values() for name, contract in contracts.items()}


@pytest.fixture(scope="module")
def evm(node_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evm]:
    """A fresh EVM chain on a loopback port that the operating system chose."""
    log = tmp_path_factory.mktemp("anvil") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [node_tools / "anvil", "--host", "127.0.0.1", "--port", "0", "--chain-id", str(CHAIN_ID)],
            stdout=output,
            stderr=output,
            start_new_session=True,  # npm's launcher is the parent of the real process: both end as one group.
        )
    try:
        deadline = time.monotonic() + 60
        while "Listening on " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "anvil does not answer"
            time.sleep(0.05)
        yield Evm("http://" + log.read_text().split("Listening on ")[1].split()[0])
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # The launcher passes it on.
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def token(evm: Evm, compiled: dict[str, Any]) -> Address:
    """The deployed token; anvil's first account may name its minter."""
    return evm.deploy(bytes.fromhex(compiled["MintableToken"]["evm"]["bytecode"]["object"]))


@pytest.fixture(scope="module")
def minter(evm: Evm, compiled: dict[str, Any], token: Address) -> Address:
    """The deployed AITokenMinter, which obeys ATTESTER and mints `token`."""
    code = bytes.fromhex(compiled["AITokenMinter"]["evm"]["bytecode"]["object"])
    address = evm.deploy(code + bytes(12) + token + bytes(12) + ATTESTER.address)
    deployer = evm.call("eth_accounts")[0]
    call = {"from": deployer, "to": to_hex(token), "data": to_hex(SET_MINTER.encode(address))}
    assert evm.mined(evm.call("eth_sendTransaction", call))["status"] == "0x1"
    return address


def _receipt(job_id: str, micro_units: int) -> Receipt:
    price = Amount(10**18)
    return Receipt(
        job_id=job_id,
        provider=PROVIDER.address,
        client="demo",
        micro_units=micro_units,
        unit_type="gpu_seconds",
        model="tiny-sd",
        prompt_hash="sha256:" + "ab" * 32,
        request_hash=Hash32(b"\x03" * 32),
        started_at=1_760_000_000,
        finished_at=1_760_000_002,
        artifact_sha256="cd" * 32,
        nonce=job_id,
        hub_id="hub-1",
        chain_id=CHAIN_ID,
        price_per_unit=price,
        amount=compute_amount(micro_units, price),
    ).checked()


def _mint(receipt: Receipt, attestation: bytes) -> bytes:
    return modules.MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, attestation)


def _attest(key: PrivateKey, receipt: Receipt) -> bytes:
    return key.sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))


def test_selectors_are_those_that_solc_computes(compiled: dict[str, Any]) -> None:
    functions = (
        modules.MINT_WITH_RECEIPT,
        modules.SET_ATTESTER,
        modules.USED_RECEIPT,
        modules.ATTESTER,
        modules.MINTER_TOKEN,
    )
    assert compiled["AITokenMinter"]["evm"]["methodIdentifiers"] == {
        function.signature: function.selector.hex() for function in functions
    }


def test_the_published_abi_has_all_of_the_contract(compiled: dict[str, Any]) -> None:
    """But for the constructor and the name of one parameter, which no call carries."""
    published = [_nameless(entry) for entry in contract_abi("minter")]
    for entry in compiled["AITokenMinter"]["abi"]:
        assert entry["type"] == "constructor" or _nameless(entry) in published


def _nameless(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry without the names of inputs and outputs, and without Solidity's own names of types."""
    kept = {**entry, "outputs": [output["type"] for output in entry.get("outputs", ())]}
    kept["inputs"] = [(parameter["type"], parameter.get("indexed")) for parameter in entry["inputs"]]
    return kept


def test_an_attested_receipt_mints_once(evm: Evm, token: Address, minter: Address) -> None:
    receipt = _receipt("job-once", 1_250_001)
    mint = _mint(receipt, _attest(ATTESTER, receipt))
    assert evm.view(minter, modules.USED_RECEIPT, receipt.hash) is False
    before = evm.view(token, modules.TOKEN_BALANCE_OF, PROVIDER.address)

    outcome = evm.send(PROVIDER, minter, mint)

    assert outcome["status"] == "0x1"
    assert outcome["from"] == to_hex(PROVIDER.address)
    assert evm.view(minter, modules.USED_RECEIPT, receipt.hash) is True
    assert evm.view(token, modules.TOKEN_BALANCE_OF, PROVIDER.address) == before + receipt.amount
    transferred, minted = outcome["logs"]
    assert _event(modules.TRANSFER_EVENT, transferred) == {
        "from": bytes(20),
        "to": PROVIDER.address,
        "value": receipt.amount,
    }
    assert _event(modules.MINTED_EVENT, minted) == {
        "provider": PROVIDER.address,
        "units": receipt.amount,
        "receiptHash": receipt.hash,
    }
    assert minted["topics"][0] == to_hex(modules.MINTED_EVENT.topic)

    assert "receipt used" in evm.revert_reason(minter, mint)
    assert evm.send(STRANGER, minter, mint)["status"] == "0x0"
    assert evm.view(token, modules.TOKEN_BALANCE_OF, PROVIDER.address) == before + receipt.amount


def _event(event: Any, log: dict[str, Any]) -> Any:
    return event.decode([parse_hex(topic) for topic in log["topics"]], parse_hex(log["data"]))


def test_a_receipt_for_nothing_is_recorded(evm: Evm, token: Address, minter: Address) -> None:
    receipt = _receipt("job-free", 0)
    supply = evm.view(token, modules.TOKEN_TOTAL_SUPPLY)

    assert evm.send(STRANGER, minter, _mint(receipt, _attest(ATTESTER, receipt)))["status"] == "0x1"

    assert evm.view(minter, modules.USED_RECEIPT, receipt.hash) is True
    assert evm.view(token, modules.TOKEN_TOTAL_SUPPLY) == supply


def test_nothing_but_what_the_attester_signed_is_minted(evm: Evm, token: Address, minter: Address) -> None:
    receipt = _receipt("job-forged", 2_000_000)
    attestation = _attest(ATTESTER, receipt)
    good = (receipt.provider, receipt.amount, receipt.hash, attestation)
    s = int.from_bytes(attestation[32:64], "big")
    forgeries: list[tuple[Address, int, Hash32, bytes]] = [
        (STRANGER.address, *good[1:]),
        (good[0], receipt.amount + 1, *good[2:]),
        (good[0], 10 * receipt.amount, *good[2:]),
        (good[0], receipt.amount, _receipt("job-other", 2_000_000).hash, attestation),
        (*good[:3], _attest(STRANGER, receipt)),
        (*good[:3], PROVIDER.sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))),
        (*good[:3], ATTESTER.sign(receipt.hash)),
        (*good[:3], attestation[:64] + bytes((55 - attestation[64],))),
        (*good[:3], attestation[:32] + (s ^ 1).to_bytes(32, "big") + attestation[64:]),
    ]

    for forgery in forgeries:
        assert "bad sig" in evm.revert_reason(minter, modules.MINT_WITH_RECEIPT.encode(*forgery))
    for wrong_length in (b"", attestation[:64], attestation + b"\0", attestation * 2):
        assert "sig len" in evm.revert_reason(minter, _mint(receipt, wrong_length))
    assert evm.send(STRANGER, minter, modules.MINT_WITH_RECEIPT.encode(*forgeries[1]))["status"] == "0x0"
    assert evm.view(minter, modules.USED_RECEIPT, receipt.hash) is False
    assert evm.send(STRANGER, minter, _mint(receipt, attestation))["status"] == "0x1"

    # The contract itself would take the twin with high s as well; it names the same receipt, so it mints nothing more.
    twin = attestation[:32] + (CURVE_ORDER - s).to_bytes(32, "big") + bytes((55 - attestation[64],))
    assert "receipt used" in evm.revert_reason(minter, _mint(receipt, twin))


def test_the_views_and_the_change_of_attester(evm: Evm, token: Address, compiled: dict[str, Any]) -> None:
    code = bytes.fromhex(compiled["AITokenMinter"]["evm"]["bytecode"]["object"])
    other = evm.deploy(code + bytes(12) + token + bytes(12) + ATTESTER.address)
    assert evm.view(other, modules.MINTER_TOKEN) == token
    assert evm.view(other, modules.ATTESTER) == ATTESTER.address

    outcome = evm.send(STRANGER, other, modules.SET_ATTESTER.encode(STRANGER.address))

    assert evm.view(other, modules.ATTESTER) == STRANGER.address
    assert _event(modules.ATTESTER_CHANGED_EVENT, outcome["logs"][0]) == {
        "oldA": ATTESTER.address,
        "newA": STRANGER.address,
    }


def test_an_evm_node_reads_our_envelope_as_we_do(evm: Evm) -> None:
    address = to_hex(STRANGER.address)
    evm.call("anvil_setBalance", address, hex(10**20))
    nonce = int(evm.call("eth_getTransactionCount", address, "pending"), 16)
    transaction = sign_transaction(
        STRANGER, chain_id=CHAIN_ID, nonce=nonce, to=PROVIDER.address, value=7, data=b"note", max_fee=10**11
    )

    outcome = evm.mined(evm.call("eth_sendRawTransaction", to_hex(transaction.raw)))
    read = evm.call("eth_getTransactionByHash", to_hex(transaction.hash))

    assert outcome["status"] == "0x1"
    assert to_checksum_address(parse_address(read["from"])) == to_checksum_address(transaction.recover_sender())
    assert (int(read["nonce"], 16), int(read["value"], 16), read["input"]) == (nonce, 7, to_hex(b"note"))
    assert (int(read["chainId"], 16), int(read["type"], 16)) == (CHAIN_ID, transaction.type)
