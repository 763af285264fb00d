"""Deposits, requests and settlements of named people, with real signatures; keywords make them wrong in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from chain.primitives.client_request import ClientRequest, sign_client_request
from chain.primitives.escrow import DEPOSIT, REFUND_DEPOSIT, REQUEST_WITHDRAWAL, WITHDRAW_DEPOSIT
from chain.primitives.hashing import keccak256
from chain.primitives.modules import ESCROW
from chain.primitives.records import Domain
from chain.primitives.settlement import Settlement
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Hash32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain

HUB = "hub.example"
DEPOSITED = 50 * ATOMS_PER_AIT
PRICE = 5 * ATOMS_PER_AIT
LASTS_S = 30 * 86_400
RECEIPT = Hash32(b"\x11" * 32)
EXPIRY = 3_600  # A chain of the tests begins at second 0.


def now_s(chain: Chain) -> int:
    """The next block's time in whole seconds."""
    return chain.next_block.time_ms // 1_000


def deposit(
    chain: Chain,
    client: str = "alice",
    value: int = DEPOSITED,
    *,
    audience: str = HUB,
    deadline: int | None = None,
    **fields: Any,
) -> Transaction:
    """Puts AIT aside."""
    deadline = now_s(chain) + LASTS_S if deadline is None else deadline
    return chain.call(client, ESCROW, DEPOSIT, audience, value, deadline, **fields)


def ask(chain: Chain, client: str, value: int, *, audience: str = HUB, **fields: Any) -> Transaction:
    """Asks for a withdrawal."""
    return chain.call(client, ESCROW, REQUEST_WITHDRAWAL, audience, value, **fields)


def withdraw(chain: Chain, client: str, *, audience: str = HUB, **fields: Any) -> Transaction:
    """Takes it."""
    return chain.call(client, ESCROW, WITHDRAW_DEPOSIT, audience, **fields)


def refund(chain: Chain, sender: str, client: str, *, audience: str = HUB, **fields: Any) -> Transaction:
    """Gives a client what is left."""
    return chain.call(sender, ESCROW, REFUND_DEPOSIT, chain.address(client), audience, **fields)


def request(chain: Chain, number: int = 0, **changes: Any) -> ClientRequest:
    """What a client may sign; the number makes it another one."""
    terms: dict[str, Any] = {
        "chain_id": chain.network.chain_id,
        "audience": HUB,
        "prompt_hash": keccak256(b"prompt %d" % number),
        "parameters_hash": keccak256(b"parameters"),
        "max_price": PRICE,
        "nonce": keccak256(b"nonce %d" % number),
        "expiry": EXPIRY,
    }
    return ClientRequest(**(terms | changes))


def settlement(
    chain: Chain,
    signed: ClientRequest,
    shares: Sequence[tuple[str, int]] = (("provider", PRICE),),
    *,
    client: str = "alice",
    signer: str | None = None,
    fee: tuple[str, int] | None = None,
    receipt_hash: Hash32 | None = None,
) -> Settlement:
    """What attesters sign; `signer` signs the request instead of the client."""
    return Settlement(
        client=chain.address(client),
        request=signed,
        client_signature=sign_client_request(chain.key(signer or client), signed),
        providers=tuple(chain.address(name) for name, _ in shares),
        amounts=tuple(amount for _, amount in shares),
        receipt_hash=receipt_hash or chain.receipt_hash(),
        fee_recipient=chain.address(fee[0]) if fee else ZERO_ADDRESS,
        fee=fee[1] if fee else 0,
    )


def send(
    chain: Chain, sender: str, settled: Settlement, *, signers: Sequence[str] = ("attester",), **fields: Any
) -> Transaction:
    """Somebody submits a settlement that these attesters have signed."""
    call_data = settled.call_data(chain.attest(settled.digest, signers))
    return chain.send(sender, ESCROW, data=call_data, **fields)


def changed(settled: Settlement, **changes: Any) -> Settlement:
    """A settlement that differs in some fields, its signatures kept; those of the request are named `request_…`."""
    of_request = {name[8:]: changes.pop(name) for name in list(changes) if name.startswith("request_")}
    signed = msgspec.structs.replace(settled.request, **of_request)
    return msgspec.structs.replace(settled, request=signed, **changes)


def held(chain: Chain) -> int:
    """What the module's address holds."""
    return chain.read().account(ESCROW).balance


def with_signatures(
    chain: Chain, settled: Settlement, signatures: bytes, sender: str = "courier", **fields: Any
) -> Transaction:
    """A settlement with these attesters' signatures, whatever they are."""
    return chain.send(sender, ESCROW, data=settled.call_data(signatures), **fields)


def signed(chain: Chain, settled: Settlement, *attesters: str) -> bytes:
    """These attesters' signatures, of the only one where none is named."""
    return chain.attest(settled.digest, attesters or ("attester",))


def assert_nothing_paid(chain: Chain) -> None:
    """Of DEPOSITED, for RECEIPT."""
    assert held(chain) == DEPOSITED
    assert chain.read().receipt_use(RECEIPT) is None
    assert not any(key[0] == Domain.SETTLED_REQUEST for key in chain.state.records)
