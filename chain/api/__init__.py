"""What others may ask of a node: the REST API, read from the store and its indexes. No request can change the chain:
the one that writes hands a signed transaction to the mempool, and there is none that takes a block.

- `application`: puts the routers on a FastAPI application, with the OpenAPI document
- `inputs`: path and query parameters, bounded and parsed
- `answering`: answers of `chain.answers` as responses and in the OpenAPI document
- `reading`: blocks, transactions and receipts of the store as answers
- a router each: `status`, `blocks`, `transactions`, `accounts`, `receipts`, `governed`, `proposals`, `proofs`,
  `evidence`, `providers`
"""
