// What is on the page: rows of tables and words, all of them text nodes. Nothing that came from outside becomes markup.

const MAX_SHOWN_TRADES = 50;
const MAX_TOLD = 4;
const NOTHING = "–";

export const element = (id) => document.getElementById(id);

export function cell(text, { tag = "td", className = "", span = 1 } = {}) {
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

export const words = (name) => name.replaceAll("_", " ");

function transactionLink(hash, text) {
  return Object.assign(document.createElement("a"), { href: `/v1/transactions/${hash}`, textContent: text });
}

/** `22 Nov 23:10:13`, UTC. */
function timeText(timeMs) {
  const text = new Date(timeMs).toUTCString(); // Sun, 22 Nov 2026 23:10:13 GMT
  return `${text.slice(5, 11)} ${text.slice(17, 25)}`;
}

export function shortAddress(address) {
  return `${address.slice(0, 6)}…${address.slice(-4)}`;
}

/** Puts rows in place of what a table has; the keyboard stays where it was. */
function replaceRows(id, rows, nothing, span) {
  const body = element(id);
  const nameOf = (each) => each.getAttribute("aria-label") ?? each.textContent;
  const focused = body.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  body.replaceChildren(...(rows.length > 0 ? rows : [row(cell(nothing, { className: "none", span }))]));
  if (focused === null) return;
  const stops = [...body.querySelectorAll("button, a")];
  (stops.find((each) => nameOf(each) === focused) ?? stops[0])?.focus();
}

/** One side of the book, best first; each price is a button that takes it over into the form. */
function sideRows(levels, units, onPrice) {
  let total = 0n;
  const all = levels.reduce((sum, { lots }) => sum + BigInt(lots), 0n);
  return levels.map(({ price, lots, order_count: count }) => {
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
}

/** The best `count` prices of each side; both sides meet in the middle. */
export function showBook({ bids, asks, height }, units, count, onPrice) {
  replaceRows("asks", sideRows(asks.slice(0, count), units, onPrice).reverse(), "no asks", 3);
  replaceRows("bids", sideRows(bids.slice(0, count), units, onPrice), "no bids", 3);
  const isTwoSided = bids.length > 0 && asks.length > 0;
  element("spread").textContent = isTwoSided ? units.price(BigInt(asks[0].price) - BigInt(bids[0].price)) : NOTHING;
  showHeight(height);
}

/** The newest block that the page knows of. */
export function showHeight(height) {
  element("height").textContent = String(Math.max(height, Number(element("height").textContent)));
}

/** Whether the market takes orders, in words. */
export function showStatus({ status }, notices) {
  element("status").textContent = words(status);
  element("status").classList.toggle("warned", status !== "open");
  const notice = notices[status] ?? "";
  if (element("notice").textContent !== notice) element("notice").textContent = notice;
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
    const time = document.createElement("td");
    time.append(transactionLink(trade.transaction_hash, timeText(trade.time_ms)));
    const made = row(cell(units.price(trade.price), { className: side }), cell(units.quantity(trade.lots)), cell(side), time);
    made.dataset.trade = trade.id;
    made.dataset.transaction = trade.transaction_hash;
    return made;
  });
  replaceRows("trades", rows, "none yet", 4);
}

/** The account's open orders, each with a button to cancel it. */
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
      cell(words(order.kind), { className: "wide" }),
      cell(units.price(order.price)),
      cell(units.quantity(order.open_lots)),
      cell(units.quantity(order.filled_lots)),
      last,
    );
  });
  replaceRows("orders", rows, "none", 7);
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
  element("balances").replaceChildren(cell(base, { tag: "li" }), cell(quote, { tag: "li" }));
}

/** Nobody is here whose orders and balances could be shown. */
export function showNobody() {
  for (const id of ["orders", "balances"]) element(id).replaceChildren();
  for (const id of ["orders-table", "no-orders", "cancel-all"]) element(id).hidden = true;
}

/** A line about one thing that somebody does: tell(text, { isFault, hash }) says how it goes on. The newest comes first. */
export function teller() {
  const line = document.createElement("p");
  return (text, { isFault = false, hash = null } = {}) => {
    if (text === "") {
      line.remove();
      return;
    }
    line.replaceChildren(text);
    if (hash !== null) line.append(" Transaction ", transactionLink(hash, hash), ".");
    line.classList.toggle("failed", isFault);
    const lines = element("outcome");
    if (line.parentNode === lines) return;
    lines.prepend(line);
    while (lines.children.length > MAX_TOLD) lines.lastElementChild.remove();
  };
}
