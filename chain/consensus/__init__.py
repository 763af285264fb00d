"""WHO decides: engines that turn events into effects, without any I/O, clock or randomness of their own.

- `engine`: the interface: events in, effects out, and what a driver owes an engine
- `solo`: the engine of a network of one validator, where one pass makes all certificates

An engine never sees a transaction or a state: it asks its driver (`chain.node.runner`) to build, execute and commit
blocks. Simplex for more validators fills the same interface.
"""
