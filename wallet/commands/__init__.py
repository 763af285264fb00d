"""`aitbc wallet`, a module per theme; `wallet.cli` puts them together. They load fast: httpx and eth-account late.

Keys, without a node:

- `making`: `new`, `import`, `derive`, with `phrases` for words at a terminal
- `keys`: `list`, `show`, `rename`, `remove`, `bind`; `exporting`: `export`
- `signatures`: `sign message|typed`, `verify message|typed`

The chain, through a node:

- `balances`: `balance`, `nonce`, `history`
- `sending`: `send`, `mint`; `relaying`: `authorize`, `relay`, `revoke`; `transactions`: `tx`; with `outcomes`
  to follow and report
- `markets`: `market`, with `placing` for `buy` and `sell`; `assets`: `asset`, with `issuing` for issuers; `compliance`;
  with `calling` for the options and the way of each command that calls the chain
- `attesting`: `attest`, for attesters; `escrow`: `escrow`, what is put aside for hubs
- `swaps`: `swap`, with `swap_session` between the two of `swap_chains`
- `receipts`: `receipt`; `networks`: `network`; `providers`; `doctor`

`arguments` reads what stands on a command line or in the files that it names.
"""
