"""Peers: the authenticated network between nodes, over one WebSocket endpoint (`/p2p`) of the node's own port.

The flow of a connection, in `entrance`: `doors` lets it in or `dialler` opens it → `handshake` proves both identities
and agrees on a key → `roster` keeps one connection per identity → `connection` reads, writes and keeps time until one
side ends it. The flow of a message: `network.send` → `outbox`, most urgent first, cut into chunks → `frames` →
`inbox` puts chunks together → the node's handler. Transactions have a way of their own: `gossip` out, `intake` in.

- `settings`: limits and times, with their reasons; what a node must offer to be called (`PeerHandler`)
- `messages`: what peers say about themselves, beside what engines say (`chain.consensus.messages`)
- `frames`: lanes, frames with a MAC, chunks
- `sockets`: the two ends of a WebSocket, accepted and dialled, behind one face
- `handshake`: mutual signatures bound to the genesis hash, and the session's keys
- `quotas`, `bans`, `doors`: what a peer may cost, who is kept away, how many may knock
- `outbox`, `inbox`: queues bounded in bytes
- `urls`, `address_book`, `dialler`: where peers are, remembered in a file, and when to dial them
- `network`: all of it together, and the only thing that the rest of the node uses

Nothing here knows what a vote or a block means.
"""
