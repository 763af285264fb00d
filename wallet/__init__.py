"""Keys at rest, signing, checking receipts, and the command line for them. It has no chain: it asks a node.

From the ground up:

- `keystore_format`, `keystore`: Web3 Secret Storage v3 files, written whole and synced; `passwords` that open them
- `words`, `derivation`: BIP-39 and BIP-44; `ledger_account`, `ledger`: keys that stay in a Ledger
- `attestation_log`, `attester`: an attester's signatures, for one network and once per job, and the memory of them
- `accounts`, `known_networks`: what a home folder holds: named keys, and the networks that it has met
- `actions`, `payees`: what a transaction does, in words, and to whom nothing is sent
- `typed_data`, `typed_values`, `authorizations`: what is signed off the chain, and transfers that others submit
- `unsigned`, `drafts`, `sending`, `history`: plan and show, sign, submit and follow; an account's past
- `assets`, `market_events`, `market_words`: what is traded, found by name; what a transaction did to orders; in words
- `verification`, `documents`, `chain_verification`: what can be checked about a receipt, alone and with a node
- `checkup`: whether the wallet itself is in order
- `cli`, `commands` with `options`, `terminal`, `node_session`: `aitbc wallet`
- `ccxt_exchange`: the market for programs that know ccxt, an optional library
- `signers`: the service that signs for nodes and hubs on other machines

`attester`, `keystore` and `verification` are what hub and provider use. Importing any of it is quick: httpx,
eth-account and eth-keyfile load when they are needed (`ethereum_libraries`).
"""
