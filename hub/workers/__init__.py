"""Sessions of providers that have dialled in: who is there, what each has been given, what comes back.

    socket.py      one WebSocket: text and binary frames in and out, an end with a reason
    handshake.py   challenge, signed hello, registry, ban: who it is, or why not
    session.py     one provider: its messages, its leases and orders, what is silent or speaks too much
    leases.py      what a session was given, until when, and how it ended
    questions.py   what was asked, until it is answered
    intake.py      results and answers with files, checked and handed to the desk
    orders.py      questions to one provider, each with its answer
    mailbox.py     the same where a provider is connected to another process of this hub
    sending.py     messages out, with their files in pieces
    spool.py       pictures and latents as they come in: temporary files, counted and hashed against what was announced
    results.py     a result held against its lease, pure
    workers.py     ASGI, and all sessions of this process: who may come, who is there, what is given out, drain
    desk.py        what sessions ask of jobs and store, and what they hand over
    errors.py      why something asked of a provider did not come

It knows neither tables nor policies: `desk.ShardDesk` does. The messages are `chain.primitives.worker_messages`.
"""
