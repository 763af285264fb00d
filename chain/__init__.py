"""The proof-of-authority chain: what it consists of, what is valid, who decides, where it is kept, who may ask.

From the ground up; each imports only what stands above it (`.importlinter` holds this in CI):

- `primitives`: WHAT things are: keys, hashes, encodings, transactions, receipts, blocks, certificates, proofs
- `abi`: the modules as contracts, in JSON files for Ethereum's tools
- `rules`: WHAT is valid: the pure state transition
- `consensus`: WHO decides: pure, events in and effects out
- `storage`: WHERE it is kept: LevelDB and the state tree
- `node`: the running validator or follower
- `api`: what others may ask over HTTP
- `client`: how others ask; `web`: what every HTTP service of the project shares
- `remote_signer`: a key that a service holds and signs with
- `bucket`: objects in an S3-compatible store, for whoever keeps pictures

Nothing here knows images, models, hubs or wallets: the chain sees receipts by their hash.
"""
