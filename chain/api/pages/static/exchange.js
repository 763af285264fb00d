// The page of one market: keeps what the server has drawn fresh, and has orders signed by the wallet of whoever looks.

import { candleChart, depthChart } from "./charts.js";
import { finalTransaction, follow, get, highestFee } from "./node.js";
import { cancelling, cancellingAll, described, placing, worstCase } from "./orders.js";
import { Refusal, Units } from "./units.js";
import * as view from "./view.js";
import { connect, reasonOf, send, wallets } from "./wallet.js";

const { element } = view;
const main = element("content");
const settings = JSON.parse(main.dataset.settings);
const units = new Units(settings.market);
const number = settings.market.market;
const path = `/v1/markets/${number}`;
const MAX_DEPTH = 100;
const MAX_KEPT_TRADES = 50;
const REFRESH_MS = 250; // Blocks may come faster than anybody reads.

let wallet = null; // { provider, account } once somebody is connected.
let trades = [];

/** `work`, at most once in a while and never twice at a time; a call while it runs makes it run once more. */
function unhurried(work, pause = REFRESH_MS) {
  let isRunning = false;
  let isWanted = false;
  return async () => {
    isWanted = true;
    if (isRunning) return;
    isRunning = true;
    while (isWanted) {
      isWanted = false;
      try {
        await work();
      } catch (error) {
        element("live").textContent = `Not up to date: ${error.message}`;
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    isRunning = false;
  };
}

// What is shown

element("candle-table").open = false;
for (const each of document.querySelectorAll(".scripted")) each.hidden = false;

const interval = main.dataset.interval;
const INTERVALS_S = { "1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "4h": 14_400, "1d": 86_400, "1w": 604_800 };
const candles = candleChart(element("candles"), units, INTERVALS_S[interval]);
const depth = depthChart(element("depth"), units);

const refreshBook = unhurried(async () => {
  const book = await get(`${path}/book?depth=${MAX_DEPTH}`);
  view.showBook(book, units, usePrice);
  depth.show(book);
});
const refreshPrices = unhurried(async () => {
  const [ticker, drawn] = await Promise.all([get(`${path}/ticker`), get(`${path}/candles?interval=${interval}&limit=300`)]);
  view.showTicker(ticker, units);
  candles.show(drawn);
}, 1_000);
const refreshMine = unhurried(async () => {
  if (wallet === null) return;
  const { account } = wallet;
  const [orders, { balances }] = await Promise.all([
    get(`/v1/accounts/${account}/orders?market=${number}&limit=200`),
    get(`/v1/accounts/${account}/assets`),
  ]);
  if (wallet?.account !== account) return;
  view.showOrders(orders.items, units, (orderId) => act(() => cancelling(settings, orderId)));
  view.showBalances(balances, units);
});
const refreshTrades = unhurried(async () => {
  const { items } = await get(`${path}/trades?limit=${MAX_KEPT_TRADES}`);
  trades = items;
  view.showTrades(trades, units);
});

function refreshAll() {
  void refreshBook();
  void refreshPrices();
  void refreshMine();
  void refreshTrades();
}

const isMine = (...accounts) => accounts.some((each) => each.toLowerCase() === wallet?.account);
let isBookOld = false;
let areMineOld = false;

follow(number, {
  state(isLive) {
    element("live").textContent = isLive ? "Live" : "Not live: connecting again";
    if (isLive) refreshAll();
  },
  trade(trade) {
    isBookOld = true;
    areMineOld ||= isMine(trade.maker, trade.taker);
    if (trades.some(({ id }) => id === trade.id)) return; // A block that was cut off is told again.
    trades = [trade, ...trades].slice(0, MAX_KEPT_TRADES);
    view.showTrades(trades, units);
    void refreshPrices();
  },
  order(order) {
    isBookOld = true;
    areMineOld ||= isMine(order.owner);
  },
  block({ height }) {
    element("height").textContent = String(height);
    if (isBookOld) void refreshBook();
    if (areMineOld) void refreshMine();
    isBookOld = areMineOld = false;
  },
  reset: refreshAll,
});

// Who looks

function show(account) {
  element("connected").textContent = account === null ? "" : view.shortAddress(account);
  element("connected").title = account ?? "";
  element("connect").textContent = account === null ? "Connect wallet" : "Disconnect";
  element("lookup").hidden = account !== null;
  element("mine-title").textContent = "My open orders";
  element("place").disabled = false;
  view.showOrders([], units, () => {});
  element("no-orders").hidden = true;
  element("balances").replaceChildren();
  void refreshMine();
}

function onAccounts(accounts) {
  if (wallet === null) return;
  wallet = accounts.length > 0 ? { ...wallet, account: accounts[0].toLowerCase() } : null;
  show(wallet?.account ?? null);
}

/** Has somebody connected; returns whether. */
async function connected() {
  if (wallet !== null) return true;
  const found = wallets();
  const chosen = found.length === 1 ? found[0] : await view.chosenWallet(found);
  if (chosen === null || chosen === undefined) return false;
  const account = await connect(chosen.provider, settings);
  chosen.provider.removeListener?.("accountsChanged", onAccounts);
  chosen.provider.on?.("accountsChanged", onAccounts);
  wallet = { provider: chosen.provider, account };
  show(account);
  return true;
}

element("wallet").hidden = false;
element("connect").onclick = async () => {
  if (wallet !== null) {
    wallet = null;
    show(null);
    return;
  }
  say("");
  try {
    await connected();
  } catch (error) {
    say(reasonOf(error), true);
  }
};

// What they do

const form = element("order-form");
form.hidden = false;

function say(text, isFault = false) {
  element("outcome").textContent = text;
  element("outcome").classList.toggle("failed", isFault);
}

const typed = () => ({
  side: form.elements.side.value,
  kind: form.elements.kind.value,
  quantity: form.elements.quantity.value,
  price: form.elements.price.value,
  expiry: form.elements.expiry.value,
});

function showFault(field, text) {
  for (const each of ["quantity", "price", "expiry"]) {
    const isAtFault = each === field;
    element(`${each}-fault`).textContent = isAtFault ? text : "";
    element(each).setAttribute("aria-invalid", String(isAtFault));
  }
  if (field) element(field).focus();
}

function usePrice(perLot) {
  form.elements.price.value = units.formatPrice(perLot);
  estimate();
  form.elements.quantity.focus();
}

function estimate() {
  const { side, kind, quantity, price } = typed();
  const isBuy = side === "buy";
  element("place").textContent = `${isBuy ? "Buy" : "Sell"} ${units.base.symbol}`;
  element("place").classList.toggle("selling", !isBuy);
  element("expiry-row").hidden = kind !== "1";
  element("price-label").textContent = kind === "5" ? "Worst price" : "Price";
  showFault(null);
  let text = "";
  try {
    const perLot = kind === "5" ? units.parseWorstPrice(price, isBuy) : units.parsePrice(price);
    const worst = worstCase(settings.market, units, { side: isBuy ? 0n : 1n, price: perLot, lots: units.parseQuantity(quantity) });
    const [paid, received] = isBuy ? ["quoteAmount", "baseAmount"] : ["baseAmount", "quoteAmount"];
    text = `Pays at most ${units[paid](worst.pays)}; filled whole, receives at least ${units[received](worst.receives)}.`;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  element("estimate").textContent = text;
}

/** Makes a call, shows it, has it signed, and waits until it is final. */
async function act(makeCall) {
  const buttons = [element("place"), element("cancel-all")];
  try {
    const data = makeCall();
    if (!(await connected())) return;
    for (const each of buttons) each.disabled = true;
    const call = { from: wallet.account, to: settings.module, data };
    say("Asking the node whether this can be done…");
    const rows = described(settings, units, data, await highestFee(call));
    say("");
    if (!(await view.confirmed(rows, data))) return;
    say("Waiting for your wallet…");
    const hash = await send(wallet.provider, settings, call);
    say(`Sent as ${hash}; waiting until it is final…`);
    const transaction = await finalTransaction(hash);
    const where = `in block ${transaction.height}, final`;
    if (transaction.status === "success") say(`Done ${where}: transaction ${hash}.`);
    else say(`Failed ${where}: ${transaction.reason ?? "no reason"}. Transaction ${hash}.`, true);
    void refreshMine();
  } catch (error) {
    if (error instanceof Refusal) showFault(error.field, error.message);
    else say(reasonOf(error), true);
  } finally {
    for (const each of buttons) each.disabled = false;
  }
}

form.addEventListener("input", estimate);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  void act(() => placing(settings, units, typed()));
});
element("cancel-all").onclick = () => act(() => cancellingAll(settings));

estimate();
refreshAll();
document.body.dataset.ready = "yes";
