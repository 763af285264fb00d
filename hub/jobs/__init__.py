"""A job's life: accepted once, given out in shards, checked, one receipt composed, ended exactly once.

    requests.py     what a client signed, kept so that receipts can be held against it when the prompts are gone
    accepting.py    from a request to a durable job: same key, same answer
    roster.py       the providers that are connected, as the scheduler sees them
    elsewhere.py    providers that are connected to other processes
    queueing.py     what waits in the database, as the scheduler sees it
    granting.py     from the scheduler's assignments to messages for providers
    desk.py         what sessions ask and bring (`hub.workers.desk.ShardDesk`)
      places.py       what its parts share
      handing_out.py  who gets what, and who helps whom
      taking_in.py    results: looked at and kept with their checks (and a whole job's receipt), or turned down
    judging.py      a first look at what was brought
    checking.py     which results are looked at again, and what follows from a verdict
    examining.py    from an open check to its verdict
    asking.py       the providers who help with that
    canaries.py     jobs of the hub's own, whose answers are known
    joining.py      what newcomers can do
    composing.py    one receipt from the shards' receipts, pure
    keeping.py      results accepted and the receipt kept, in one unit
    attendant.py    moves jobs on: closes, composes, has receipts signed
    ending.py       the last step, in one unit with what goes with it
    recalling.py    tells providers of leases and sessions that are over
    live.py         previews and progress for who watches, in memory

The database is the truth: whatever stands here in memory can be lost at any moment.
"""
