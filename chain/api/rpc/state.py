"""eth_getBalance and its like: what an account is, now or at a recent block."""

from typing import Final

from chain.api.rpc.block_ids import BLOCK_ID, BlockId, BlockTag
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import ADDRESS, DATA_SCHEMA, HASH_SCHEMA, QUANTITY_SCHEMA, SLOT, quantity
from chain.primitives.hexadecimal import to_hex
from chain.primitives.market import is_asset_address
from chain.primitives.modules import MODULES
from chain.primitives.records import Account, Domain, state_key
from chain.primitives.types import Address
from chain.rules.assets.holdings import find_asset
from chain.rules.state import State, StateReader

MODULE_CODE: Final = "0xfe"
"""What stands for the code of a module or asset, since wallets take an address without code for a person's: the EVM's
one instruction that is invalid for good."""

_ADDRESS: Final = Parameter("address", ADDRESS)
_BLOCK: Final = Parameter("block", BLOCK_ID, BlockTag.LATEST)
_ACCOUNT_PREFIX: Final = state_key(Domain.ACCOUNT)
_NO_ACCOUNT: Final = Account()
_EMPTY_SLOT: Final = to_hex(bytes(32))


def state_methods(chain: ServedChain) -> tuple[Method, ...]:
    """Accounts of one chain. A state of the past is put together from undo records, which may take a while."""

    def is_past(_address: Address, block: BlockId) -> bool:
        return not chain.is_newest(block)

    def balance(address: Address, block: BlockId) -> str:
        return quantity(_account(chain.state_at(block), address).balance)

    def transaction_count(address: Address, block: BlockId) -> str:
        nonce = _account(chain.state_at(block), address).nonce
        if block is BlockTag.PENDING:
            nonce = max(nonce, chain.node.pool.nonce_after_waiting(address))
        return quantity(nonce)

    def is_past_asset(address: Address, block: BlockId) -> bool:
        return is_asset_address(address) and is_past(address, block)

    def code(address: Address, block: BlockId) -> str:
        if is_asset_address(address):
            return MODULE_CODE if find_asset(State(chain.state_at(block)), address) is not None else "0x"
        chain.existing_height(block)
        return MODULE_CODE if address in _MODULE_ADDRESSES else "0x"

    def storage(_address: Address, _slot: int, block: BlockId) -> str:
        chain.existing_height(block)
        return _EMPTY_SLOT

    return (
        Method(
            name="eth_getBalance",
            summary="Atoms of AIT that an account holds",
            parameters=(_ADDRESS, _BLOCK),
            result=QUANTITY_SCHEMA,
            handler=balance,
            is_heavy=is_past,
        ),
        Method(
            name="eth_getTransactionCount",
            summary="The account's nonce; with `pending`, after what waits in the mempool",
            parameters=(_ADDRESS, _BLOCK),
            result=QUANTITY_SCHEMA,
            handler=transaction_count,
            is_heavy=is_past,
        ),
        Method(
            name="eth_getCode",
            summary=f"{MODULE_CODE} at the addresses of modules and issued assets, nothing elsewhere: there is no EVM",
            parameters=(_ADDRESS, _BLOCK),
            result=DATA_SCHEMA,
            handler=code,
            is_heavy=is_past_asset,
        ),
        Method(
            name="eth_getStorageAt",
            summary="Always zero: modules have no storage slots; ask their views with eth_call",
            parameters=(_ADDRESS, Parameter("slot", SLOT), _BLOCK),
            result=HASH_SCHEMA,
            handler=storage,
        ),
    )


_MODULE_ADDRESSES: Final = frozenset(MODULES.values())


def _account(state: StateReader, address: Address) -> Account:
    record = state.get(_ACCOUNT_PREFIX + address)
    return _NO_ACCOUNT if record is None else Account.decode(record)
