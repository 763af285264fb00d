"""The hub: many providers behind one service, and an attester that vouches only for what it has checked.

A job's way through this package:

    service.py       POST /v1/jobs: the key, the body's bounds          (request.py: fields and request hash)
    jobs.py          a durable row, a place in the bounded queue        (store.py: the tables)
    dispatch.py      provider after provider, until one answers well    (selection.py: whose turn it is)
    provider_client.py  the HTTP call, bounded in time and bytes
    verification.py  every claim of the answer and its receipt, pure    (picture.py: the PNG)
    jobs.py          attests through the wallet's attester, keeps the picture (artifacts.py), answers
    delivery.py      brings receipt and attestation to the provider, again and again until it has them
    minting.py       looks for the mint on the chain

`chain_view.py` keeps what the hub knows of the chain: providers, the receipt's ceiling, whether its attester still
counts. The hub knows no model, no GPU and no rule of the chain; providers are HTTP addresses to it.
"""
