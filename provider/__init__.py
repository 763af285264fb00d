"""The provider: serves images, signs a receipt for each, and mints AIT for those that an attester vouches for.

A job's way through the package:

- `cli`, `settings`, `process`: how a provider is started, with what, and how its parts are put together
- `service`, `schemas`, `api_keys`: the HTTP edge: who asks, for what, how often
- `jobs`: one job from request to answer, made at most once
- `engine`, `generation`, `pipeline`: the queue, what a job is, and the diffusers pipeline (the only importer of torch)
- `receipts`, `artifacts`, `outbox`: the signed receipt, the picture, and the durable file that keeps both together
- `attestations`, `minter`, `chain_identity`, `registration`: the way to the chain and back, through `chain.client`
- `models/tiny_sd`, `tiny_model`: the embedded pipeline, and the scripts that made it

It knows nothing of hubs but that some API keys are theirs, and nothing of the chain but what a node's API says.
"""
