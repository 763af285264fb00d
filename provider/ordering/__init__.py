"""The client's side of an order: what `provider.client` sends, and how it checks what comes back.

    order.py          what is wanted, as JSON; signed with the client's key where it has one
    verification.py   whether an answer is what was ordered: receipt, signature, hashes, pictures
    answers.py        what else a provider answers, as types
    job_file.py       what a client keeps of a finished job
    calls.py          every request of the API: what is sent, and how its answer is read
    connection.py     address, headers and bounds, and when to try again
    live.py           messages of the WebSocket that tells the progress
    decoding.py       answers' JSON under bounds
    errors.py         what can go wrong

Opens no socket and no file itself. Knows nothing of how a provider works inside.
"""
