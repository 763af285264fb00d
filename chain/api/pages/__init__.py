"""The web exchange: pages that a node serves beside its REST API, which they use like anybody else.

`/exchange` lists the markets; `/exchange/{market}` shows one: book, trades, candles and, for an address, its orders.
A page is whole as it comes from the server; scripts then keep it fresh over /v1/stream and let a wallet in the browser
sign orders. There is no build step: what `static/` holds is what browsers run, and `static/vendor/` holds uPlot 1.6.32
(MIT, npm `uplot`, unchanged). Nothing is loaded from anywhere else, and nothing runs that is no file of `static/`.

- `exchange`: the routes.
- `showing`: a market's numbers as people say them, for the templates.
- `files`: templates, static files, and the headers that all of it goes out with.

The scripts (`static/`): `exchange.js` puts together `node.js` (REST, JSON-RPC, stream), `view.js` (what is shown),
`charts.js`, `wallet.js` (EIP-6963, EIP-1193), `orders.js` (forms to calls, calls to words), `units.js` and `abi.js`.
The pages know no key and no account but what a wallet tells them, and set no cookie.
"""
