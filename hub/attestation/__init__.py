"""WHO vouches for a receipt, and what becomes of it: signatures, m of n, the way to providers, the chain, the books.

A receipt comes here when all checks of its job have passed (`hub.store.receipts.keep`). From there:

- `attesting`: the loop: signs it when its challenge window is over, gathers what other attesters say, ends the job
- `forms`: mint, split mint or settlement: what is signed, in which order signatures stand, what a provider is sent
- `gathering`: other hubs' attesters until m - 1 have signed, then its own; `peers`: who they are, and asking them
- `signing`: own signatures, in threads of their own
- `showing`: evidence for one of them, with the pictures that it draws, within a bound of memory
- `disputes`: the challenge window, and what speaks against a receipt while it is open
- `delivering`: attestations to the providers that earned them, again and again until one has it, or the chain
- `minting`: receipts that were minted, by the minter's events; `watching`: what follows, and a look at what they missed
- `following`: books of deposits: every event of the escrow module that concerns this hub, once, in the chain's order
- `logs`: a node's events, by stretches of blocks, one after the other
- `deposits`: what a client's deposit still covers, before a paid job is accepted
- `auditing`: checks the audit log's chain; `remembering`: the attester's log, completed from the database at the start

And for other hubs, whose receipts this hub's attester is asked to sign (`POST /v1/attestations`):

- `routes`, `authentication`: who asks, shown by a signature over the whole request
- `evidence`: a receipt with everything that speaks for it, as bytes; `examining`, `pictures`: whether it holds (pure)
- `endorsing`: own checks, own look at the chain, own window, one receipt per job and signed request

`errors`: why there is no signature; `metrics`: what Prometheus reads.

An attester signs nothing because another did. What is signed is written down first (`wallet.attestation_log`), so a
crash loses no memory of it, and the same can be signed again. Nothing here knows how pictures are made.
"""
