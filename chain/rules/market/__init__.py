"""The market: order books in the state, and who trades with whom.

    orders.py ───── placeOrder: checks, plans, carries out
      ├─ matching.py   whom an order meets in the book, oldest at the best price first: a plan, nothing changes
      ├─ amounts.py    what lots and prices come to in atoms: escrow, trades, fees
      └─ closing.py    how an order leaves the book; cancelling, sweeping, an issuer's cancelling
           └─ book.py     orders, their price levels and pages; each owner's open orders
                └─ prices.py  which prices have orders: a trie of bitmaps
    markets.py ──── what governance sets: markets, their status, fees, policies
    views.py ────── what anybody may ask without changing anything

An order's escrow is part of the MARKET address's balance, fees are the TREASURY's: `chain.rules.assets.holdings` moves
both. A level, an order and a price are each one record, and every change of the book touches a bounded number of them.
Nothing here knows blocks, signatures or how the state is stored.
"""
