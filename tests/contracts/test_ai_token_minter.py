"""The plan's Solidity contract, compiled by solc and deployed on an EVM chain (anvil), accepts what this project signs.

Every transaction to it is signed by our own `sign_transaction`, so an EVM node also judges our envelopes.
"""

from typing import Any

import pytest

from chain.primitives import modules
from chain.primitives.abi import Function
from chain.primitives.contract_abi import contract_abi
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.units import compute_amount
from tests.contracts.anvil import CHAIN_ID, Evm

pytestmark = pytest.mark.node

ATTESTER = PrivateKey(b"\x0a" * 32)
PROVIDER = PrivateKey(b"\x0b" * 32)
STRANGER = PrivateKey(b"\x0c" * 32)

SET_MINTER = Function("setMinter(address newMinter)")


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
