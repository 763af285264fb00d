// What is on the page: rows of tables and words, all of them text nodes. Nothing that came from outside becomes markup.

const MAX_SHOWN_LEVELS = 25;
const MAX_SHOWN_TRADES = 50;

export const element = (id) => document.getElementById(id);

function cell(text, { tag = "td", className = "", span = 1 } = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  if (tag === "th") made.scope = "row";
  if (span > 1) made.colSpan = span;
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

const words = (name) => name.replaceAll("_", " ");

export function timeText(timeMs) {
  return new Date(timeMs).toISOString().slice(0, 19).replace("T", " ");
}

export function shortAddress(address) {
  return `${address.slice(0, 6)}…${address.slice(-4)}`;
}

/** One side of the book, each price with a button that takes it over into the form. */
function showSide(id, levels, units, onPrice) {
  let total = 0n;
  const shown = levels.slice(0, MAX_SHOWN_LEVELS);
  const all = shown.reduce((sum, { lots }) => sum + BigInt(lots), 0n);
  const rows = shown.map(({ price, lots, order_count: count }) => {
    total += BigInt(lots);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = units.price(price);
    button.title = `${count} ${count === 1 ? "order" : "orders"}: use this price`;
    button.onclick = () => onPrice(BigInt(price));
    const first = document.createElement("td");
    first.append(button);
    const made = row(first, cell(units.quantity(lots)), cell(units.quantity(total)));
    made.style.setProperty("--share", `${Number((total * 100n) / all)}%`);
    return made;
  });
  replaceRows(id, rows, "none", 3);
}

/** Puts rows in place of what a table has; the keyboard stays where it was. */
function replaceRows(id, rows, nothing, span) {
  const body = element(id);
  const focused = body.contains(document.activeElement) ? document.activeElement.textContent : null;
  body.replaceChildren(...(rows.length > 0 ? rows : [row(cell(nothing, { className: "none", span }))]));
  if (focused === null) return;
  const buttons = [...body.querySelectorAll("button")];
  (buttons.find(({ textContent }) => textContent === focused) ?? buttons[0])?.focus();
}

export function showBook(book, units, onPrice) {
  showSide("asks", book.asks, units, onPrice);
  showSide("bids", book.bids, units, onPrice);
  element("height").textContent = String(Math.max(book.height, Number(element("height").textContent)));
}

export function showTicker(ticker, units) {
  const texts = {
    last: units.price(ticker.last),
    change: units.change(ticker.change),
    high: units.price(ticker.high),
    low: units.price(ticker.low),
    volume: units.quantity(ticker.lots),
  };
  for (const [id, text] of Object.entries(texts)) element(id).textContent = text;
  document.title = document.title.replace(/^\S+/, texts.last);
}

export function showTrades(trades, units) {
  const rows = trades.slice(0, MAX_SHOWN_TRADES).map((trade) => {
    const side = trade.taker_side;
    const made = row(
      cell(units.price(trade.price), { className: side }),
      cell(units.quantity(trade.lots)),
      cell(side),
      cell(timeText(trade.time_ms)),
    );
    made.dataset.trade = trade.id;
    made.dataset.transaction = trade.transaction_hash;
    made.title = `Transaction ${trade.transaction_hash}`;
    return made;
  });
  replaceRows("trades", rows, "none yet", 4);
}

/** The account's open orders, each with a button to cancel it; `account` null: nobody is connected. */
export function showOrders(orders, units, onCancel) {
  const rows = orders.map((order) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Cancel";
    button.setAttribute("aria-label", `Cancel order ${order.order_id}`);
    button.dataset.order = order.order_id;
    button.onclick = () => onCancel(order.order_id);
    const last = document.createElement("td");
    last.append(button);
    return row(
      cell(String(order.order_id), { tag: "th" }),
      cell(order.side, { className: order.side }),
      cell(words(order.kind)),
      cell(units.price(order.price)),
      cell(units.quantity(order.open_lots)),
      cell(units.quantity(order.filled_lots)),
      last,
    );
  });
  element("orders").replaceChildren(...rows);
  element("orders-table").hidden = rows.length === 0;
  element("no-orders").hidden = rows.length > 0;
  element("cancel-all").hidden = rows.length === 0;
}

export function showBalances(balances, units) {
  const of = (asset, amount) => {
    const found = balances.find(({ asset: each }) => each.toLowerCase() === asset.asset.toLowerCase());
    const text = `${amount(BigInt(found?.balance ?? 0))} free, ${amount(BigInt(found?.in_orders ?? 0))} in orders`;
    return found?.frozen ? `${text} (frozen by its issuer)` : text;
  };
  const base = of(units.base, (atoms) => units.baseAmount(atoms));
  const quote = of(units.quote, (atoms) => units.quoteAmount(atoms));
  element("balances").replaceChildren(...[base, quote].map((text) => Object.assign(document.createElement("span"), { textContent: text })));
}

/** Shows what a call does; resolves to whether the person wants it signed. */
export function confirmed(rows, data) {
  const dialog = element("confirm");
  const parts = rows.flatMap(([label, text]) => [cell(label, { tag: "dt" }), cell(text, { tag: "dd" })]);
  element("confirm-rows").replaceChildren(...parts);
  element("confirm-data").textContent = data;
  dialog.showModal();
  element("confirm-yes").focus();
  return new Promise((resolve) => {
    const end = (isWanted) => {
      dialog.onclose = null;
      if (dialog.open) dialog.close();
      resolve(isWanted);
    };
    element("confirm-yes").onclick = () => end(true);
    element("confirm-no").onclick = () => end(false);
    dialog.onclose = () => end(false); // The escape key.
  });
}

/** Resolves to the wallet that the person chooses, null for none. */
export function chosenWallet(wallets) {
  const dialog = element("wallets");
  element("no-wallet").hidden = wallets.length > 0;
  return new Promise((resolve) => {
    const end = (wallet) => {
      dialog.onclose = null;
      if (dialog.open) dialog.close();
      resolve(wallet);
    };
    const buttons = wallets.map((wallet) => {
      const button = document.createElement("button");
      button.type = "button";
      if (/^data:image\//.test(wallet.info.icon ?? "")) {
        button.append(Object.assign(new Image(24, 24), { src: wallet.info.icon, alt: "" }));
      }
      button.append(String(wallet.info.name).slice(0, 60));
      button.onclick = () => end(wallet);
      return button;
    });
    element("wallet-list").replaceChildren(...buttons);
    element("wallets-no").onclick = () => end(null);
    dialog.onclose = () => end(null);
    dialog.showModal();
  });
}
