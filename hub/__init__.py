"""The hub: many providers behind one service, and an attester that vouches only for what it has checked.

A job's way through this package:

    http/           POST /v1/jobs and everything else that is answered; the page; OpenAI's SDK
    orders/         what is asked for: bounds, what a client signs, moderation, quotas, the price
    jobs/           accepted, given out, taken back in, checked, composed to one receipt, ended once
    scheduling/     who gets which pictures, pure
    workers/        sessions of providers that have dialled in
    verification/   whether an answer is true: rules, pure but for those who are asked
    attestation/    signs receipts, alone or with other hubs' attesters; brings them to providers; watches the chain
    reputation/     what came of providers' work, and what follows from it
    delivery/       webhooks
    store/, ledger/ the database, which is the truth; the books
    commands/       `aitbc hub …` (cli.py)

opening.py opens what a hub stands on, assembling.py makes and wires the parts, attesters.py those that vouch; hub.py is
the whole of it, run.py serves it; loops.py keeps its loops running, housekeeping.py does what is due every now and
then. settings.py, secret_files.py, hub_secrets.py: what an operator gives, what a hub draws for itself.
chain_view.py, registry.py: what the chain says. artifacts.py: the pictures. client.py: a client of a hub;
client_checks.py: what it checks. signing.py: the attester's key. metrics.py, errors.py: what concerns all of it.
"""
