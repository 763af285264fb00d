"""The hub: many providers behind one service, and an attester that vouches only for what it has checked.

A job's way through this package:

    service.py          POST /v1/jobs: whose key, which bounds         request.py: fields, request hash; answers.py
    jobs.py             a durable row, a place in the bounded queue    store.py, tables.py
    dispatch.py         provider after provider, until one holds       selection.py: whose turn; bench.py: who sits out
    provider_client.py  the HTTP call, bounded in time and bytes
    verification.py     every claim of answer and receipt, pure        picture.py: the PNG
    jobs.py             the picture is kept (artifacts.py), the receipt attested by the wallet's attester, the job done
    delivery.py         brings the attestation to the provider, again and again until it has it
    minting.py          looks for the mint on the chain

`hub.py` opens all parts (`signing.py` the attester) and keeps the loops running, `run.py` serves them; `chain_view.py`
keeps what the hub knows of the chain. The command line is `cli.py`, with `client.py` for those who send jobs. What an
operator sets is in `settings.py`, the API keys in `secret_files.py`.

The hub knows no model, no GPU and no rule of the chain; a provider is an HTTP address with a registered key to it.
"""
