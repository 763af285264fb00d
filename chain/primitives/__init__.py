"""WHAT things are: values, encodings, signatures, and the checks that need nothing but the bytes at hand.

From the ground up:

- `types`, `hashing`, `hexadecimal`, `strict_json`, `rejection`: values, the two hash functions, text forms, refusals
- `keys`, `signing`: secp256k1 signatures and addresses; EIP-191 and EIP-712 digests
- `rlp`, `abi`, `message_pack`, `merkle`: strict encodings, and roots of lists
- `transaction`, `modules`, `call_text`: the two envelopes, the calls that they may carry, and these for people
- `contract_abi`: the modules as contracts, for Ethereum's tools
- `authorization`: transfers that their owner signs and anybody submits
- `client_request`, `request_parameters`: what a client signs when it orders pictures, of a hub or of a provider
- `receipt`, `receipt_request`, `units`, `shards`: the served job's receipt, and what provider and attester sign of it
- `trajectory`: what a provider commits to of a run, and how single steps of it are opened
- `block`, `certificate`, `state_proof`: what the chain consists of, and how a third party checks it; `bloom`: over logs
- `parameters`, `network`: what governance tunes, and how a chain begins
- `consent`: a new validator's word that it joins
- `signable`: what is being signed, told from the preimage
- `finality`: who decides and what is final, from the network file alone

Nothing here does I/O, knows the time, or imports another package of the project.
"""
