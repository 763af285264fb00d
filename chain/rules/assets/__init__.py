"""Assets: what issuers issue, and AIT beside them as one more thing that can be held and moved.

    holdings.py ── who holds how much of what, who may hold it, and the one way in which it moves
       ├─ tokens.py ─── EIP-20 at every asset's own address: transfer, approve, transferFrom, and its views
       ├─ issuing.py ── the issuer's calls: issue, mint, burn, give powers up, authorise, freeze, claw back
       ├─ treasury.py ─ what governance does with the fees of the market
       └─ views.py ──── what can be asked of assets at the market's address

Flags bind as they stand: an issuer that gives a power up sets free at once whomever it had frozen or not authorised.
Modules and the issuer itself may always hold an asset, or no order could be refunded and nothing burned.
"""
