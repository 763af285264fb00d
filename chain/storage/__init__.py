"""WHERE the chain is kept: one LevelDB folder, and the top of the state tree in memory.

The flow of one block: `Store.view()` is the state that the rules read; `Store.prepare(changes)` computes the state
root that these changes lead to and changes nothing; `Store.commit(block, pending)` writes the block, its state, its
certificate and its indexes in one synced batch, and only then moves the tree and the head. A process that dies at any
moment finds the last whole block when it opens the folder again.

- `keys`: every key prefix in one table
- `database`: LevelDB opened with our options, its errors turned into messages that say what to do
- `folder_lock`: one store per folder
- `records`: the head's record and the undo records
- `rows`, `batch`, `writer`: a state's changes, and the one write of a block
- `leaves`: the state tree's leaves as LevelDB keeps them
- `subtree`: hashes of a handful of sorted leaves
- `levels`, `tree`: the state tree's top, updated once per block for the touched keys, and its proofs
- `values`, `view`, `pending`, `past`: the state at the head, after a block that is not committed, and some blocks ago
- `reader`, `cursor`: blocks, results, certificates, locations, indexes
- `evidence`: contradicting votes, which belong to no block
- `opening`, `store`: opening with all checks; preparing, committing, proving
- `journal_format`, `journal_file`, `journal_reading`, `journal`: the vote journal's bytes, its file, whether it is the
  right one, and what the engine appends to it; it lies beside the LevelDB folder
- `errors`: what can go wrong

Nothing here knows what a block or a value means, beyond a header's height, parent and state root.
"""
