"""Views answer what Ethereum's own ABI library reads, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import eth_abi
import pytest
from eth_account.messages import encode_typed_data

from chain.primitives import escrow, market, modules
from chain.primitives.abi import Function
from chain.primitives.authorization import CANCEL_TYPE_HASH, TYPE_HASHES, AuthorizationKind
from chain.primitives.modules import FUNCTIONS, GOVERNANCE, MINTER, REGISTRY, TOKEN
from chain.primitives.parameters import PARAMETER_BOUNDS, Parameters
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256, ZERO_ADDRESS, Address, Hash32
from chain.rules.views import call_view

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

RECEIPT = Hash32(b"\x22" * 32)
# They refuse what is not there, or is no name; of these, nothing has the number, name or address zero.
ABOUT_SOMETHING = frozenset(
    {
        modules.PROPOSAL,
        modules.PARAMETER,
        escrow.DEPOSIT_OF,
        market.ASSET,
        market.HOLDER,
        market.MARKET_INFORMATION,
        market.ORDER,
        market.OPEN_ORDERS,
        market.BEST_PRICES,
        market.IS_ELIGIBLE,
    }
)


def ask(chain: Chain, module: Address, function: Function, *arguments: Any) -> tuple[Any, ...]:
    """The answer as eth_abi decodes it, addresses as bytes."""
    records = dict(chain.state.records)
    call_data = function.selector + eth_abi.encode([t.name for t in function.input_types], arguments)
    answer = call_view(chain.state, chain.next_block, module, call_data)
    assert chain.state.records == records
    decoded = eth_abi.decode([t.name for t in function.output_types], answer)
    assert eth_abi.encode([t.name for t in function.output_types], decoded) == answer
    return tuple(_plain(value) for value in decoded)


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return bytes.fromhex(value[2:])
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


@pytest.fixture
def busy_chain(make_chain: MakeChain) -> Chain:
    """A chain on which something of everything has happened."""
    chain = make_chain(validators=4, base_fee_atoms=0)
    chain.add(chain.mint("alice", "alice", 7 * ATOMS_PER_AIT, RECEIPT))
    offer = ("https://x", ["m1", "m2"], 12, "images", 99)
    chain.add(
        chain.call("alice", TOKEN, modules.TOKEN_APPROVE, chain.address("bob"), 55),
        chain.call("alice", REGISTRY, modules.REGISTER, *offer, chain.address("cold"), later=1),
    )
    chain.govern(GOVERNANCE, modules.ADD_ISSUER.encode(chain.address("issuer")))
    chain.add(chain.call("validator-1", GOVERNANCE, modules.PROPOSE, GOVERNANCE, modules.PAUSE.encode()))
    return chain


def test_token(busy_chain: Chain) -> None:
    chain = busy_chain
    alice, bob = chain.address("alice"), chain.address("bob")
    assert ask(chain, TOKEN, modules.TOKEN_NAME) == ("AITBC",)
    assert ask(chain, TOKEN, modules.TOKEN_SYMBOL) == ("AIT",)
    assert ask(chain, TOKEN, modules.TOKEN_DECIMALS) == (18,)
    assert ask(chain, TOKEN, modules.TOKEN_TOTAL_SUPPLY) == (7 * ATOMS_PER_AIT,)
    assert ask(chain, TOKEN, modules.TOKEN_BALANCE_OF, alice) == (7 * ATOMS_PER_AIT,)
    assert ask(chain, TOKEN, modules.TOKEN_BALANCE_OF, bob) == (0,)
    assert ask(chain, TOKEN, modules.TOKEN_ALLOWANCE, alice, bob) == (55,)
    assert ask(chain, TOKEN, modules.TOKEN_ALLOWANCE, bob, alice) == (0,)


def test_minter(busy_chain: Chain) -> None:
    chain = busy_chain
    assert ask(chain, MINTER, modules.USED_RECEIPT, RECEIPT) == (True,)
    assert ask(chain, MINTER, modules.USED_RECEIPT, bytes(32)) == (False,)
    assert ask(chain, MINTER, modules.ATTESTER) == (chain.address("attester"),)
    assert ask(chain, MINTER, modules.IS_ATTESTER, chain.address("attester")) == (True,)
    assert ask(chain, MINTER, modules.IS_ATTESTER, chain.address("alice")) == (False,)
    assert ask(chain, MINTER, modules.MINTER_TOKEN) == (TOKEN,)


def test_registry(busy_chain: Chain) -> None:
    chain = busy_chain
    alice, cold = chain.address("alice"), chain.address("cold")
    expected = (True, "https://x", ("m1", "m2"), 12, "images", 99, cold)
    assert ask(chain, REGISTRY, modules.PROVIDER, alice) == expected
    assert ask(chain, REGISTRY, modules.PROVIDER, cold) == (False, "", (), 0, "", 0, ZERO_ADDRESS)


def test_governance(busy_chain: Chain) -> None:
    chain = busy_chain
    assert ask(chain, GOVERNANCE, modules.PAUSED) == (False,)
    assert ask(chain, GOVERNANCE, modules.IS_ISSUER, chain.address("issuer")) == (True,)
    assert ask(chain, GOVERNANCE, modules.IS_ISSUER, chain.address("alice")) == (False,)
    for name in PARAMETER_BOUNDS:
        assert ask(chain, GOVERNANCE, modules.PARAMETER, name) == (getattr(Parameters(), name),)
    v0, v1, v2 = (chain.address(f"validator-{index}") for index in range(3))
    call_data = modules.ADD_ISSUER.encode(chain.address("issuer"))
    assert ask(chain, GOVERNANCE, modules.PROPOSAL, 1) == (v0, GOVERNANCE, call_data, 3_000, (v0, v1, v2), True)
    assert ask(chain, GOVERNANCE, modules.PROPOSAL, 2) == (v1, GOVERNANCE, modules.PAUSE.selector, 4_000, (v1,), False)
    assert ask(chain, GOVERNANCE, modules.VALIDATORS) == (0, tuple(chain.read().validators()))


def test_what_owners_sign_under(busy_chain: Chain) -> None:
    """A wallet that knows nothing of this chain builds the domain from the answer, and comes to the same separator."""
    chain = busy_chain
    fields, name, version, chain_id, contract, salt, extensions = ask(chain, TOKEN, modules.EIP712_DOMAIN)
    assert (fields, salt, extensions) == (b"\x0f", bytes(32), ())
    domain = {"name": name, "version": version, "chainId": chain_id, "verifyingContract": contract}
    signable = encode_typed_data(domain, {"Thing": [{"name": "number", "type": "uint256"}]}, {"number": 1})
    assert ask(chain, TOKEN, modules.DOMAIN_SEPARATOR) == (signable.header,)
    assert ask(chain, TOKEN, modules.DOMAIN_VERSION) == (version,)
    assert (name, version, chain_id, contract) == ("AITBC", "1", chain.network.chain_id, TOKEN)
    for function, type_hash in (
        (modules.TRANSFER_WITH_AUTHORIZATION_TYPEHASH, TYPE_HASHES[AuthorizationKind.TRANSFER]),
        (modules.RECEIVE_WITH_AUTHORIZATION_TYPEHASH, TYPE_HASHES[AuthorizationKind.RECEIVE]),
        (modules.CANCEL_AUTHORIZATION_TYPEHASH, CANCEL_TYPE_HASH),
    ):
        assert ask(chain, TOKEN, function) == (type_hash,)
    assert ask(chain, TOKEN, modules.AUTHORIZATION_STATE, chain.address("alice"), RECEIPT) == (False,)


@pytest.mark.parametrize("number", [0, 3, 2**63, 2**64, MAX_UINT256])
def test_a_proposal_that_is_not_there(busy_chain: Chain, number: int) -> None:
    with pytest.raises(Rejected) as caught:
        ask(busy_chain, GOVERNANCE, modules.PROPOSAL, number)
    assert caught.value.reason is RejectionReason.UNKNOWN_PROPOSAL


@pytest.mark.parametrize("name", ["", "encode", "__struct_fields__", "Base_fee_atoms", "\U0001f600" * 999])
def test_a_parameter_that_is_not_there(busy_chain: Chain, name: str) -> None:
    with pytest.raises(Rejected) as caught:
        ask(busy_chain, GOVERNANCE, modules.PARAMETER, name)
    assert caught.value.reason is RejectionReason.UNKNOWN_PARAMETER


def test_every_declared_view_answers_at_its_own_module_only(busy_chain: Chain) -> None:
    for module, functions in FUNCTIONS.items():
        for function in functions:
            zeros = function.selector + bytes(32 * len(function.inputs))
            for other in (*modules.MODULES.values(), ZERO_ADDRESS, busy_chain.address("alice")):
                if function.is_view and other == module:
                    continue
                if any(function.selector == f.selector and f.is_view for f in FUNCTIONS.get(other, ())):
                    continue
                with pytest.raises(Rejected) as caught:
                    call_view(busy_chain.state, busy_chain.next_block, other, zeros)
                assert caught.value.reason is RejectionReason.UNKNOWN_CALL
            if function.is_view and function not in ABOUT_SOMETHING:
                assert call_view(busy_chain.state, busy_chain.next_block, module, zeros)
            elif function.is_view:
                with pytest.raises(Rejected) as caught:
                    call_view(busy_chain.state, busy_chain.next_block, module, zeros)
                assert caught.value.reason is not RejectionReason.UNKNOWN_CALL


@pytest.mark.parametrize("call_data", [b"", b"\0", b"\0\0\0", bytes(4), bytes(100)])
def test_calls_too_short_or_unknown(busy_chain: Chain, call_data: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        call_view(busy_chain.state, busy_chain.next_block, TOKEN, call_data)
    assert caught.value.reason is RejectionReason.UNKNOWN_CALL


def test_loosely_encoded_questions_are_refused(busy_chain: Chain) -> None:
    good = modules.TOKEN_BALANCE_OF.encode(busy_chain.address("alice"))
    for call_data in (good + b"\0", good[:-1], good[:4], good[:4] + b"\1" + good[5:], good + bytes(32)):
        with pytest.raises(Rejected) as caught:
            call_view(busy_chain.state, busy_chain.next_block, TOKEN, call_data)
        assert caught.value.reason in (RejectionReason.MALFORMED, RejectionReason.NON_CANONICAL)
