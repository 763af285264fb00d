"""WHO decides: an engine that turns events into effects, without any I/O, clock or randomness of its own.

The flow of an event: `simplex.SimplexEngine.handle` → what it says is learned (`hearing`, `knowledge`) → whatever has
become possible is done (`block_work`, `voter`, `proposer`, `retelling`) → `draft` gives the effects.

- `effects`: the interface: events in, effects out, and what a driver owes an engine
- `messages`: what engines say to each other, and the vote journal's entries
- `simplex`: the engine itself, its table of contents, one network of any number of validators
- `hearing`: what peers say: checked, learned, answered, or blamed
- `knowledge`, `view`, `committee`: votes and certificates of one epoch, by view; whose turn it is, and who counts
- `block_work`, `block_tree`: which blocks are to be fetched, executed and committed
- `voter`, `proposer`: this node's own votes, and its blocks when it leads
- `pace`: when a view is given up, and when a block is due
- `retelling`: saying again what may have been lost
- `draft`: the effects of one event, while they come together

An engine never sees a transaction or a state: it asks its driver (`chain.node.driver`) to build, execute and commit
blocks.
"""
