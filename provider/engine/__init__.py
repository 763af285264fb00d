"""The queue in front of the models, and who is served when.

The way of a job: `engine.Engine.submit` cuts it into rows, one per picture → `dispatch` puts them into the `queue`,
which is fair between callers → a `slot` that is free takes the next rows that can share a batch (`batching`) → the
backend computes them → `dispatch` hands each picture to its job, whose future resolves with the last one.

- `engine`: the life of the whole: loading in the background, a thread per slot, draining, stopping, time limits
- `options`: what an operator may choose
- `jobs`: a job as its caller sees it: future, progress, events, cancelling
- `dispatch`: the state that all threads share, behind one lock: who waits, who is at work, who gets what
- `slot`: one thread's work: a batch, and what becomes of its rows when it fails
- `queue`, `batching`: pure: fair order, and which rows go together
- `memory`, `throughput`: pure: what has been learned of batches that did not fit, and of how long pictures take
- `observer`: what metrics may listen to; `outside`: calls of code that is not the engine's own
- `backends`: where batches are computed: `local` in this process, `ray` on replicas

It knows nothing of HTTP, receipts or disks, and torch only behind a backend.
"""
