"""The running validator or follower: everything below it, wired to a clock, a disk and a mempool.

The flow of a transaction: `runner.Node.submit` → `mempool` → the engine asks for a block → `ledger.propose` executes →
the engine signs its certificate → `ledger.commit` writes block, state, certificate and `index` in one batch → `mempool`
re-checks the senders that the block touched.

- `config`: the frozen settings of one process; `cli` builds them
- `folder`: what lies in a node's data folder, and the validator's key file
- `ledger`: execute, propose, import and commit blocks
- `records`: what is stored beside a block, and in the indexes
- `index`: which index entries a block leaves
- `caches`: signatures recovered and transactions decoded once are not worked out again
- `mempool`, `pool_limits`: what waits, within bounds
- `runner`: asyncio: timers, worker thread, shutdown
- `metrics`: figures for Prometheus
- `cli`: `aitbc node init | run | status | new-key`, where a node and its API are put together

Nothing here knows HTTP, but for `cli`.
"""
