"""The state and the block before everything: whom the network file names, and not one atom."""

from chain.primitives.block import Block, Header, results_root, transactions_root
from chain.primitives.certificate import validators_hash
from chain.primitives.network import Network
from chain.primitives.types import ZERO_ADDRESS, BlockHeight, Hash32
from chain.rules.state import State, StateReader


class _Nothing:
    """The state before the genesis block."""

    def get(self, state_key: bytes) -> bytes | None:
        """Nothing is there."""
        return None


def genesis_changes(network: Network) -> dict[bytes, bytes | None]:
    """The records of the genesis state, by state key."""
    nothing: StateReader = _Nothing()
    state = State(nothing)
    state.begin_epoch(network.validator_addresses)
    state.set_attesters(network.attesters)
    state.set_parameters(network.parameters)
    return state.changes()


def genesis_block(network: Network, state_root: Hash32) -> Block:
    """Height 0: its parent hash is the genesis hash, its time 0, its proposer nobody; it needs no certificate."""
    return Block(
        Header(
            protocol_version=1,
            chain_id=network.chain_id,
            epoch=0,
            height=BlockHeight(0),
            parent_hash=network.genesis_hash,
            time_ms=0,
            proposer=ZERO_ADDRESS,
            transactions_root=transactions_root([]),
            results_root=results_root([]),
            state_root=state_root,
            next_validators_hash=validators_hash(0, network.validator_addresses),
        ),
        (),
    )
