"""The genesis state names who may act, and holds not one atom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.primitives.block import results_root, transactions_root
from chain.primitives.certificate import validators_hash
from chain.primitives.network import AttesterAllowance, Network
from chain.primitives.parameters import Parameters
from chain.primitives.records import Domain, Supply
from chain.primitives.types import ZERO_ADDRESS, Hash32
from chain.rules.genesis import genesis_block, genesis_changes

if TYPE_CHECKING:
    from tests.chain.rules.conftest import MakeChain

ROOT = Hash32(b"\x07" * 32)


def test_nothing_exists_at_genesis(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4, attesters={"attester": (5, 6), "second": (7, 8)}, attester_threshold=2)
    domains = {key[0] for key in chain.state.records}
    assert domains == {Domain.VALIDATORS, Domain.ATTESTERS, Domain.PARAMETERS}  # So no account and no supply.
    assert chain.read().supply() == Supply(0, 0)
    for name in (*chain.validators, "attester", "second"):
        assert (chain.balance(name), chain.nonce(name)) == (0, 0)


def test_the_state_says_what_the_network_file_says(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4, attesters={"attester": (5, 6), "second": (7, 8)}, attester_threshold=2)
    state = chain.read()
    assert state.validators() == tuple(chain.address(name) for name in chain.validators)
    assert state.attesters() == (
        AttesterAllowance(chain.address("attester"), 5, 6),
        AttesterAllowance(chain.address("second"), 7, 8),
    )
    assert state.parameters() == Parameters(attester_threshold=2)
    assert not state.minting_paused()
    assert state.issuers() == ()
    assert state.proposal_count() == 0
    assert state.upgrade().version_at(1) == 1


def test_every_record_decodes_to_what_was_encoded(make_chain: MakeChain) -> None:
    parameters = {"base_fee_atoms": 7, "period_ms": 5_000, "max_block_recoveries": 99}
    chain = make_chain(validators=2, **parameters)
    assert chain.read().parameters() == Parameters(**parameters)


def test_genesis_block_stands_on_the_genesis_hash(make_chain: MakeChain) -> None:
    network: Network = make_chain(validators=3).network
    block = genesis_block(network, ROOT)
    header = block.header
    assert block.transactions == ()
    assert (header.height, header.epoch, header.time_ms, header.protocol_version) == (0, 0, 0, 1)
    assert header.parent_hash == network.genesis_hash
    assert header.proposer == ZERO_ADDRESS
    assert header.chain_id == network.chain_id
    assert (header.transactions_root, header.results_root) == (transactions_root([]), results_root([]))
    assert header.state_root == ROOT
    assert header.next_validators_hash == validators_hash(0, network.validator_addresses)


def test_genesis_is_the_same_every_time(make_chain: MakeChain) -> None:
    first, second = make_chain(validators=4), make_chain(validators=4)
    assert list(genesis_changes(first.network).items()) == list(genesis_changes(second.network).items())
    assert first.head.hash == second.head.hash
