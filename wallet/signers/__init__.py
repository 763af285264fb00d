"""`aitbc wallet signer`: keys of this wallet, served to a node or hub by Web3Signer's API.

    commands.py   the command: which accounts, for what, on which address
    service.py    the HTTP face: one signature per request, one line in the log for each
    purposes.py   what may be signed at all, told from what is hashed

The other side is `chain.remote_signer`. Whoever reaches the port can have things signed: it belongs on loopback, or
behind something that checks certificates. Nothing here keeps a node from voting twice; that is its journal's part.
"""
