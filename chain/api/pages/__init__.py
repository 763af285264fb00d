"""The web exchange: pages that a node serves beside its REST API, which they use like anybody else.

`/exchange` lists the markets; `/exchange/{market}` shows one: book, trades, candles and, for an address, its orders.
A page is whole as it comes from the server; scripts then keep it fresh over /v1/stream and let a wallet in the browser
sign orders. There is no build step: what `static/` holds is what browsers run. Nothing is loaded from anywhere else,
and nothing runs that is no file of `static/`. The pages know no key and no account but what a wallet tells them, and
set no cookie.

- `exchange`: the routes.
- `showing`: a market's numbers as people say them, for the templates.
- `files`: templates, static files, and the headers that all of it goes out with.

The scripts (`static/`): `exchange.js` puts together `node.js` (REST, JSON-RPC, stream), `view.js` (what is shown),
`charts.js`, `form.js` (what somebody types), `session.js` (who looks), `wallet.js` (EIP-6963, EIP-1193), `acting.js`
(from a call to its final block), `dialogs.js`, `orders.js` (forms to calls, calls to words), `units.js` and `abi.js`.

`static/vendor/` holds files of uPlot 1.6.32 (MIT) as `npm pack uplot@1.6.32` gives them: `dist/uPlot.iife.min.js`,
`dist/uPlot.min.css` and `LICENSE`, unchanged; a test knows their hashes.

WalletConnect is left out. Its library (@walletconnect/ethereum-provider 2.25, under a licence of its own) brings a
dialog (@reown/appkit) that talks to its makers' servers, and every request would go through their relay: both would
have to be let into the content-security policy, and neither can be tried here. A telephone's wallet has a browser of
its own, which reaches these pages.
"""
