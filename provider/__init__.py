"""The provider: serves images, signs a receipt for each, and mints AIT for those that an attester vouches for.

A job's way through the package:

- `cli`, `commands`, `settings`, `process`: how a provider is started, with what, and how its parts are put together
- `http`, `api_keys`: the ways in: the plan's API, OpenAI's, Automatic1111's, a WebSocket; who asks, and how often
- `jobs`: one job from order to answer, whichever way it came in, made at most once
- `engine`, `generation`: the queue, fair between callers; what a job, a batch and a backend are
- `inference`: diffusers' pipelines, the only importer of torch; `models/tiny_sd` is the embedded one, and `tiny_model`
  trains it
- `receipts`, `storage`: the signed receipt, the latents that it commits to, the artifacts, and the database that keeps
  receipt, job and answer together
- `minting`: the way to the chain and back, through `chain.client`
- `monitoring`: metrics, traces, one log line per job
- `client`, `ordering`: the other side: a client that checks what it is given

It knows of hubs only what they say over the connections that it opens to them, and of the chain what a node's API says.
"""
