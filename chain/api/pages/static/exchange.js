// The page of one market: keeps what the server has drawn fresh, and has orders signed by the wallet of whoever looks.

import { acting } from "./acting.js";
import { candleChart, depthChart } from "./charts.js";
import { withdraw } from "./dialogs.js";
import { orderForm } from "./form.js";
import { NodeError, UNREADABLE, follow, get, renewTerms } from "./node.js";
import { cancelling, cancellingAll, placing } from "./orders.js";
import { Session } from "./session.js";
import { Units } from "./units.js";
import * as view from "./view.js";

const { element } = view;
const main = element("content");
const settings = JSON.parse(main.dataset.settings);
const units = new Units(settings.market);
const number = settings.market.market;
const path = `/v1/markets/${number}`;
const MAX_DEPTH = 100;
const MAX_KEPT_TRADES = 50;
const MAX_ORDERS = 200; // What an account may have open in a market.
const MAX_CANDLES = 200;
const INTERVALS_S = { "1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "4h": 14_400, "1d": 86_400, "1w": 604_800 };

// What is shown. Blocks may come faster than anybody reads, so each part is fetched anew at most so often.

let isLive = false;
const troubles = new Map(); // Why the newest fetch of a part failed.

function showState() {
  const [trouble] = troubles.values();
  const state = isLive ? "Live" : "Not live: connecting again";
  const text = trouble ? `Not up to date: ${trouble}` : state;
  if (element("live").textContent !== text) element("live").textContent = text;
}

/** `work`, at most once in `pause` and never twice at a time; a call while it runs makes it run once more. */
function unhurried(pause, work) {
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
        troubles.delete(work);
      } catch (error) {
        troubles.set(work, error instanceof NodeError ? error.message : UNREADABLE);
      }
      showState();
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    isRunning = false;
  };
}

const table = element("candle-table");
if (table !== null) table.open = false;
for (const each of document.querySelectorAll(".scripted")) each.hidden = false;
const { interval } = main.dataset;
const candles = candleChart(element("candles"), units, INTERVALS_S[interval]);
const depth = depthChart(element("depth"), units);
let trades = [];

const refreshBook = unhurried(250, async () => {
  const book = await get(`${path}/book?depth=${MAX_DEPTH}`);
  view.showBook(book, units, settings.levels, form.usePrice);
  depth.show(book);
});
const refreshPrices = unhurried(1_000, async () => {
  const [ticker, drawn] = await Promise.all([get(`${path}/ticker`), get(`${path}/candles?interval=${interval}&limit=${MAX_CANDLES}`)]);
  view.showTicker(ticker, units);
  candles.show(drawn);
});
const refreshTrades = unhurried(250, async () => {
  trades = (await get(`${path}/trades?limit=${MAX_KEPT_TRADES}`)).items;
  view.showTrades(trades, units);
});
const refreshMine = unhurried(250, async () => {
  const { account } = session;
  if (account === null) return;
  const [orders, { balances }] = await Promise.all([
    get(`/v1/accounts/${account}/orders?market=${number}&limit=${MAX_ORDERS}`),
    get(`/v1/accounts/${account}/assets`),
  ]);
  if (session.account !== account) return;
  view.showOrders(orders.items, units, (orderId) => act(() => cancelling(settings, orderId)));
  view.showBalances(balances, units);
});
// Governance changes fees and status, of which the stream says nothing.
const refreshTerms = unhurried(10_000, async () => {
  await renewTerms(settings.market);
  view.showStatus(settings.market, settings.notices);
});

function refreshAll() {
  for (const refresh of [refreshBook, refreshPrices, refreshTrades, refreshMine, refreshTerms]) void refresh();
}

const isMine = (...accounts) => accounts.some((each) => each.toLowerCase() === session.account);
let isBookOld = false;
let areMineOld = false;

const heard = {
  state(isOpen) {
    isLive = isOpen;
    showState();
    if (isOpen) refreshAll();
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
    view.showHeight(height);
    void refreshTerms();
    if (isBookOld) void refreshBook();
    if (areMineOld) void refreshMine();
    isBookOld = areMineOld = false;
  },
  reset: refreshAll,
};

// Who looks, and what they do

const session = new Session(settings, (account) => {
  withdraw(); // Whatever was about to be signed, another account was asked.
  element("connected").textContent = account === null ? "" : view.shortAddress(account);
  element("connected").title = account ?? "";
  element("connect").textContent = account === null ? "Connect wallet" : "Disconnect";
  element("lookup").hidden = account !== null;
  element("mine-title").textContent = "My open orders";
  view.showNobody();
  void refreshMine();
});
const { act, connect } = acting({ settings, units, session, onDone: refreshMine, onRefusal: (refusal) => form.showRefusal(refusal) });
const form = orderForm(settings, units, () => act(() => placing(settings, units, form.typed())));

element("wallet").hidden = false;
element("connect").onclick = () => (session.account === null ? connect() : session.disconnect());
element("cancel-all").onclick = () => act(() => cancellingAll(settings));

void refreshBook();
void refreshPrices();
follow(number, heard);
document.body.dataset.ready = "yes";
