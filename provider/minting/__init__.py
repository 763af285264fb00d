"""The provider's way to the chain and back, through `chain.client`.

- `chain_identity`: which network it is, asked once and then remembered
- `attestations`: attesters' signatures, checked as the chain will check them, and kept
- `payment`: which call pays for a receipt, and what attesters sign for it
- `minter`: one call per attested receipt, sent again and again until it is final
- `registration`: the entry in the chain's registry
- `chain_account`: nonces, fees, signed transactions of the provider's key

A chain that is down costs nothing: what is signed and attested waits in the outbox.
"""
