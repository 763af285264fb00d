"""The hub's tables. `hub.store.migrations` makes them, and a test holds both equal.

- `schema`: the metadata that all share, and whose data it is
- `jobs`: jobs, their shards, leases, results, pictures and progress events, idempotency keys and clients' nonces
- `receipts`: receipts of whole jobs, attestations, webhooks
- `providers`: providers' standing, sessions, checks of their work, perceptual hashes
- `attesting`: money promised to paid jobs, receipts of other hubs, outcomes for the chain
- `records`: quotas, the audit log and the ledger
"""
