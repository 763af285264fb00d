"""Ethereum's JSON-RPC over this chain: what wallets, libraries and tools expect of a node, with no EVM behind it.

    bytes ── protocol ── dispatch ── a method's declaration ── its handler ── objects ── bytes
             decode       look up     read the parameters        ask the chain   Ethereum's shapes

- `protocol`: requests, batches and responses as bytes, within bounds; `errors`: geth's codes and phrases
- `methods`: how a method is declared; `table`: all of them; `openrpc`: the document that the declarations make
- `dispatch`: looks a call up, reads it, answers it on the event loop or in a thread of the `heavy_pool`;
  `nonce_order`: transactions that came too early; `settling`: receipts asked for too early
- `http`: POST /rpc, and POST / for tools that are given the bare URL
- `websocket`, `socket`: the same over WebSocket, with `subscriptions`, fed by `news`
- `budget`: how many bytes of requests and answers all clients together may have this node hold
- `values`, `block_ids`, `call_objects`, `log_queries`: how parameters are read, as strictly as geth reads them
- `objects`: blocks, transactions, receipts and logs in Ethereum's shapes; `schemas`: their JSON schemas
- `served_chain`: what the methods ask: blocks by whatever names them, states at recent heights; `base_fees`
- the methods: `network`, `fees`, `state`, `calls`, `sending`, `blocks`, `transactions`, `logs`, `filters`, `aitbc`
- `metrics`: calls and errors by method

Every block is final, so `latest`, `safe` and `finalized` are one. docs/json-rpc.md is for those who use it.
"""
