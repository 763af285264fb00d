"""AIT against what any EVM chain has, with nobody in between: two hash-time-locked transfers under one secret.

The maker draws a secret and locks first; the taker locks second, under the same hash and with an earlier deadline. The
maker claims the second lock, which shows the secret to all; with it the taker claims the first. Whoever is left alone
is refunded at its own lock's deadline.

- `terms`: what both agreed on, as the small JSON file that they exchange; it names both locks' ids
- `steps`: which step may be taken, by what both chains say and the time that is left: pure, and the heart of it
- `store`: what this side must not lose: terms, secret, whether it was shown; durable before anything is locked
- `json_rpc`, `reading`: what a chain says of a lock and of an asset; both chains are asked in the same words
- `other_chain`: transactions on the EVM chain, where `tests/contracts/HashTimeLock.sol` is the counterpart

Nothing here is shown to people or asks them: that is `wallet.commands.swaps`, with `swap_session` between the chains.
"""
