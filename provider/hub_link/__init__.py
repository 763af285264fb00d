"""This provider at its hubs: it dials every one that the operator has named, and serves what they give it.

    links.py      all hubs: started, looked at, drained together
    link.py       one hub: dialled again and again, ever more slowly; challenge and hello; messages in and out
    backoff.py    how long to wait before dialling again
    socket.py     the WebSocket: frames, heartbeats, an end with a reason
    frames.py     files that come with a message, and files that go with one
    offering.py   what this provider says of itself
    orders.py     a hub's assignment as an order for `provider.jobs`, within this provider's own bounds
    leases.py     assignments under way: progress, results, the same again for a repeated one
    concluding.py what a hub may still want of one that drains
    checks.py     steps opened, computed again, pictures without a receipt: unpaid, and so bounded
    receipts.py   receipts of split jobs signed, attestations taken into the outbox
    errors.py     why a hub is left, or told no

A hub is trusted to send work, since its URL was named; but not to be honest: whatever it asks is held against this
provider's chain, prices and bounds, and refused with a reason. It never gets the key, nor a path of this machine.
Nothing about leases is kept on disk: a hub sends those that are open again, and the job log knows what came of them.
"""
