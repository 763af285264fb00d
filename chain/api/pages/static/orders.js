// From a form to a call, and from a call back to words: what is shown before signing is read out of what will be signed.

import { decodeCall, encodeCall } from "./abi.js";
import { Refusal, formatUnits } from "./units.js";

const GOOD_TILL_HEIGHT = 1n;
const MARKET_KIND = 5n;
const KINDS = [
  { text: "limit, rests until it is cancelled", isResting: true },
  { text: "limit, rests until a block", isResting: true },
  { text: "takes at once what it can, the rest is cancelled", isResting: false },
  { text: "takes all at once, or nothing", isResting: false },
  { text: "only rests, is refused where it would take", isResting: true },
  { text: "takes at once at any price up to the worst, the rest is cancelled", isResting: false },
];
const CLOSED = {
  rest_cancelled: "cancelled, nobody was there for it",
  fill_bound: "cancelled, one transaction fills no more",
  self_trade: "cancelled in favour of a newer order of yours",
};
const BASIS_POINTS = 10_000n;
const MAX_CANCELLED = 100n;

/** The call that places what a form says: { side, kind, quantity, price, expiry }, texts. Throws Refusal. */
export function placing({ market, functions }, units, form) {
  const isBuy = form.side === "buy";
  const kind = BigInt(form.kind);
  const lots = units.parseQuantity(form.quantity);
  const price = kind === MARKET_KIND ? units.parseWorstPrice(form.price, isBuy) : units.parsePrice(form.price);
  let expiry = 0n;
  if (kind === GOOD_TILL_HEIGHT) {
    if (!/^[1-9][0-9]{0,14}$/.test(form.expiry.trim())) throw new Refusal("expiry", "Type the number of a block to come.");
    expiry = BigInt(form.expiry.trim());
  }
  return encodeCall(functions.placeOrder, [BigInt(market.market), isBuy ? 0n : 1n, kind, price, lots, expiry, 0n]);
}

export function cancelling({ functions }, orderId) {
  return encodeCall(functions.cancelOrder, [BigInt(orderId)]);
}

export function cancellingAll({ market, functions }) {
  return encodeCall(functions.cancelAll, [BigInt(market.market), MAX_CANCELLED]);
}

/** What an order pays at most, and what it receives at least if it is filled whole, in atoms of the one and the other. */
export function worstCase(market, units, { side, price, lots }) {
  const base = lots * units.lot;
  const quote = lots * price;
  const [pays, receives] = side === 0n ? [quote, base] : [base, quote];
  const rate = BigInt(Math.max(market.maker_fee, market.taker_fee));
  // Each trade's fee is rounded up, there are at most as many trades as lots, and a seller's may be at better prices.
  const isExact = side === 0n && (units.lot * rate) % BASIS_POINTS === 0n;
  const fee = rate === 0n ? 0n : (receives * rate) / BASIS_POINTS + (isExact ? 0n : lots);
  return { pays, receives: fee < receives ? receives - fee : 0n, fee: fee < receives ? fee : receives };
}

/** Symbols can be alike, addresses cannot. */
function assetRows({ market, native }) {
  const issued = [market.base, market.quote].filter(({ asset }) => asset !== native);
  return issued.map(({ symbol, asset }) => [`${symbol} is the asset`, asset]);
}

function placementRows(settings, units, call) {
  const { market } = settings;
  const isBuy = call.side === 0n;
  const { pays, receives, fee } = worstCase(market, units, call);
  const [paid, received] = isBuy ? ["quoteAmount", "baseAmount"] : ["baseAmount", "quoteAmount"];
  const kind = KINDS[Number(call.kind)];
  if (kind === undefined || call.side > 1n) throw new RangeError("the call places an order of no known kind");
  const escrow = kind.isResting ? "that much, until it is filled or cancelled" : "nothing; what is not traded at once comes back";
  const rows = [
    ["Action", `${isBuy ? "Buy" : "Sell"} ${units.formatQuantity(call.lots)} ${units.base.symbol}`],
    ["Market", `${units.name}, number ${call.market}`],
    [isBuy ? "Price at most" : "Price at least", `${units.formatPrice(call.price)} ${units.quote.symbol} per ${units.base.symbol}`],
    ["Kind", kind.text],
    ["You pay at most", units[paid](pays)],
    ["Stays in escrow at most", escrow],
    ["You receive, filled whole, at least", units[received](receives)],
    ["Trading fee at that price, at most", `${units[received](fee)}, of what you receive`],
  ];
  rows.push(...assetRows(settings));
  if (call.expiryHeight !== 0n) rows.push(["Trades up to block", String(call.expiryHeight)]);
  if (call.clientId !== 0n) rows.push(["Your own number", String(call.clientId)]);
  return rows;
}

const DESCRIBED = {
  placeOrder: placementRows,
  cancelOrder: (_settings, _units, { orderId }) => [
    ["Action", `Cancel order ${orderId}`],
    ["You pay", "nothing; what the order holds comes back"],
  ],
  cancelAll: (_settings, units, { market, limit }) => [
    ["Action", `Cancel all your orders in market ${market}, the oldest ${limit} at most`],
    ["Market", units.name],
    ["You pay", "nothing; what the orders hold comes back"],
  ],
};

/** What has become of a placed order, as /v1/orders/{order} has it. */
export function outcomeText(order, units) {
  const [lots, filled, open] = [order.lots, order.filled_lots, order.open_lots].map(BigInt);
  const parts = [];
  if (filled > 0n) {
    const verb = order.side === "buy" ? "bought" : "sold";
    parts.push(`${verb} ${units.baseQuantity(filled)} for ${units.quoteAmount(BigInt(order.filled_value))}`);
  }
  if (open > 0n) parts.push(`${units.baseQuantity(open)} rest in the book as order ${order.order_id}`);
  else if (filled < lots) parts.push(`${units.baseQuantity(lots - filled)} ${CLOSED[order.close_reason] ?? "not traded"}`);
  return parts.join("; ");
}

/** Rows of a label and a text, for somebody who is to sign the call. Throws where it is none of the page's calls. */
export function described(settings, units, data, networkFee) {
  const call = Object.values(settings.functions).find(({ selector }) => data.startsWith(selector));
  if (call === undefined) throw new RangeError("this page signs no such call");
  const values = decodeCall(call, data);
  if (values.market !== undefined && values.market !== BigInt(settings.market.market)) {
    throw new RangeError("the call names another market");
  }
  return [
    ...DESCRIBED[call.name](settings, units, values),
    ["Network fee at most", networkFee === 0n ? "none" : `${formatUnits(networkFee, 18)} AIT`],
    ["Chain", `${settings.chainName}, number ${Number(settings.chainId)}`],
    ["Sent to", `the market, ${settings.module}`],
  ];
}
