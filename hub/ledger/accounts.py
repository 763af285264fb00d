"""Accounts, by name. A balance is credits less debits: what the hub's books owe the account's holder.

Accounts under `chain:` stand for what lies outside the books: AIT comes in from there and goes out to there, so their
balances are the only ones that go below zero, by as much as the others hold together.
"""

from typing import Final

MINTED: Final = "chain:minted"
"""What the chain has minted for receipts of this hub; its debits are the AIT that came into being."""
ESCROW: Final = "chain:escrow"
"""The escrow module on the chain: debited when a client's deposit for this hub is seen there."""
HUB_FEE: Final = "hub:fee"
"""What the hub has earned."""
_MAX_NAME_CHARACTERS: Final = 96


def client_deposit(client: str) -> str:
    """What a client has deposited and not spent yet."""
    return _checked(f"client:{client}:deposit")


def provider_earnings(provider: str) -> str:
    """What a provider has earned, and has from the chain."""
    return _checked(f"provider:{provider}:earnings")


def _checked(name: str) -> str:
    if len(name) > _MAX_NAME_CHARACTERS or not (name.isascii() and name.isprintable()):
        raise ValueError(f"an account's name is at most {_MAX_NAME_CHARACTERS} printable ASCII characters")
    return name
