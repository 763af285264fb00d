"""The provider's account on the chain: its next nonce, the fee that is asked, and signed transactions."""

import asyncio

from chain.answers import AccountView
from chain.client import AsyncNodeClient
from chain.primitives.keys import PrivateKey
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import Address


class ChainAccount:
    """One key at one node. Hold `lock` from asking for the nonce until the node has what was signed with it."""

    def __init__(self, client: AsyncNodeClient, key: PrivateKey) -> None:
        self.client = client
        self.address: Address = key.address
        self.lock = asyncio.Lock()
        self._key = key

    async def view(self) -> AccountView:
        """Balance and nonces now."""
        return await self.client.account(self.address)

    async def max_fee_atoms(self) -> int:
        """Atoms per gas to offer: twice the base fee, so that one rise of it does not matter; less is burned."""
        parameters = await self.client.parameters()
        return 2 * int(parameters.parameters["base_fee_atoms"])

    def sign(self, *, chain_id: int, nonce: int, to: Address, call: bytes, max_fee_atoms: int) -> Transaction:
        """A module call, ready to be sent."""
        return sign_transaction(self._key, chain_id=chain_id, nonce=nonce, to=to, data=call, max_fee=max_fee_atoms)
