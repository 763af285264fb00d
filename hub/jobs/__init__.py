"""A job's life: accepted once, given out in shards, checked, one receipt composed, ended exactly once.

    requests.py     what a client signed, kept so that receipts can be held against it when the prompts are gone
    accepting.py    from a request to a durable job: same key, same answer
    roster.py       the providers that are connected, as the scheduler sees them
    queueing.py     what waits in the database, as the scheduler sees it
    granting.py     from the scheduler's assignments to messages for providers
    desk.py         what sessions ask and bring (`hub.workers.desk.ShardDesk`)
    judging.py      a first look at what was brought, and what of it is looked at again
    checking.py     those second looks, from the sample that is drawn to the verdict
    asking.py       the providers who help with them
    stragglers.py   who is late gets help
    composing.py    one receipt from the shards' receipts, pure
    attendant.py    moves jobs on: closes, composes, has receipts signed
    ending.py       the last step, in one unit with what goes with it
    live.py         previews and progress for who watches, in memory

The database is the truth: whatever stands here in memory can be lost at any moment.
"""
