"""Keys at rest, signing, checking receipts, and the command line for them. It has no chain: it asks a node.

From the ground up:

- `keystore_format`, `keystore`: Web3 Secret Storage v3 files, written whole and synced; `passwords` that open them
- `attestation_log`, `attester`: an attester's signatures, for one network and once per job, and the memory of them
- `accounts`, `known_networks`: what a home folder holds: named keys, and the networks that it has met
- `actions`, `payees`: what a transaction does, in words, and to whom nothing is sent
- `verification`, `documents`, `chain_verification`: what can be checked about a receipt, alone and with a node
- `sending`, `history`: plan, sign, submit, wait; an account's past
- `cli`, `chain_commands`, `receipt_commands` with `options`, `terminal`, `node_session`: `aitbc wallet`

`attester`, `keystore` and `verification` are what hub and provider use. Importing any of it is quick: httpx and
eth-keyfile load when they are needed.
"""
