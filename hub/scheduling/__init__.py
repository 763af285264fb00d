"""Who gets which pictures: pure, every rule a module of its own. docs/hub.md explains each with its measurement.

    work.py, speed.py    how much there is to compute for a picture; how fast a worker has been seen to be
    workers.py, runs.py  a worker at one moment; what waits: consecutive pictures of a job
    fairness.py          a run's place in the queue: fair between clients, priorities as a head start

    assignment.py        one pass: runs in the order of their places, each to workers that are free (fleet.py)
      filters.py         who may serve it at all, or why nobody may
      warmth.py          loading a model, or waiting for who has it loaded
      newcomers.py       newcomers and doubted workers on a share (turns.py)
      policies/          whose turn it is among the rest
      cutting.py         how many of the run's pictures a worker takes; timeline.py: who would end when

    leases.py            a shard in somebody's hands; stragglers.py: the same shard for a second worker
    estimates.py         how long a new job will take, and when to ask again
    pricing.py, costs.py at which price per unit, and what it may cost

What waits is not cut beforehand: a job is one run of pictures until a worker is free, which takes the first few of them
as its shard. So shards follow the speeds and the queue of that moment, and a lost shard is a waiting run again.

No module here reads a clock, draws a random number or does I/O; the caller passes seconds of one clock of its own. What
is remembered between calls (whose turn was when) is small, bounded, and harmless to lose.
"""
