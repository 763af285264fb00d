"""What others may ask of a node, over REST and JSON-RPC, read from the store and its indexes. No request can change the
chain: those that write hand a signed transaction to the mempool, and there is none that takes a block.

- `application`: puts the routers on a FastAPI application, with the OpenAPI document
- `inputs`: path and query parameters, bounded and parsed
- `answering`: answers of `chain.answers` as responses and in the OpenAPI document
- `reading`: blocks, transactions and receipts of the store as answers
- `state_proofs`: what the state holds, with the proof of it
- `log_search`, `log_index`: events of a range of blocks, found through the indexes
- `market_reading`: assets, markets, orders and trades as answers; `candles`: of all intervals
- `stream`: /v1/stream, server-sent events; `market_news`: what a block means to who follows it
- a router each: `status`, `blocks`, `transactions`, `accounts`, `receipts`, `governed`, `proposals`, `proofs`,
  `evidence`, `providers`, `assets`, `markets`, `trading`, `abi`
- `rpc`: Ethereum's JSON-RPC, a package of its own
"""
