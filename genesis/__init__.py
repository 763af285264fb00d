"""How a network starts: the command `aitbc`, network files, and the devnet that brings a whole network to life.

- `cli`: the root command; each group is loaded only when it is asked for
- `devnet_cli`: `aitbc devnet`, its options and what it shows
- `devnet`: which processes a devnet has, and in which order they come and go
- `nodes`: its validators, of which a few may be lost, and its follower
- `topology`: its network file, and a data folder per node
- `market`: an issuer, an asset worth nothing, and a market for AIT, through real governance
- `job`: one job from the request to the final mint
- `secrets`: the keys that a devnet draws for itself and keeps in its folder
- `processes`: a child process with a log, a readiness check and an orderly end

Network files themselves are read by `chain.primitives.network`, because a node must read one without all of this.
"""
