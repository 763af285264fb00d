"""The running validator or follower: everything below it, wired to a clock, a disk, peers and a mempool.

The flow of a transaction: `runner.Node.submit` → `intake` → `mempool`, and on to the peers → the engine asks for
a block → `blocks` has `ledger.propose` execute → the engine votes: `outbox` has the journal on the disk before anything
is sent → with q votes of each kind the block is final → `ledger.commit` writes block, state, certificate and `index` in
one batch → `mempool` re-checks the senders that the block touched.

At work
- `runner`: `Node`, where all this is put together, started and stopped
- `driver`: feeds the engine, and carries out its effects in order; `timers`, `clock`
- `outbox`: records to the vote journal, many in one sync, and what waits for them
- `blocks`: building, executing and committing on the worker thread; candidates that are not final
- `neighbours`: this node among its peers: what they say, and what is done about it
- `serving`: blocks, ranges and status for peers
- `intake`: transactions on their way in and on to others
- `peers`: the authenticated network between nodes, a package of its own
- `catching_up`: which final blocks to ask whom for, a package; `ranges`: what is asked for and answered
- `mempool`, `waiting`, `pool_limits`: what waits, within bounds
- `feed`: tells whoever listens of each block and each admitted transaction
- `metrics`: figures for Prometheus; `market_metrics`: those of the markets

What is kept
- `ledger`: execute, propose, import and commit blocks
- `records`: what is stored beside a block, and in the indexes; `index`: which index entries a block leaves
- `market_index`: those for trades, orders and candles, `market_records`, made of `market_events`
- `caches`: signatures recovered and transactions decoded once are not worked out again
- `folder`, `key_file`: what lies in a node's data folder, the validator's key, and which journal belongs to it;
  `remote_key`: a key that a remote signer holds; `whole_file`: replacing a small file

For the operator
- `config`: the frozen settings of one process; `cli` builds them
- `cli`: `aitbc node init | run | status | new-key`, where a node and its API are put together; `options`: what all
  commands share; `signer_options`: where a validator's key is
- `governance`, `verification`: the other commands, packages of their own

Nothing here knows HTTP, but for the commands, what they call, and `peers`.
"""
