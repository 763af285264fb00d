"""Keys at rest, signing, checking receipts, and the command line for them. It has no chain: it asks a node."""
