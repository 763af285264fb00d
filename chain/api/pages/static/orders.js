// From a form to a call, and from a call back to words: what is shown before signing is read out of what will be signed.

import { decodeCall, encodeCall } from "./abi.js";
import { Refusal, formatUnits } from "./units.js";

const GOOD_TILL_HEIGHT = 1n;
const MARKET_KIND = 5n;
const KINDS = [
  "limit, rests until it is cancelled",
  "limit, rests until a block",
  "takes at once what it can, the rest is cancelled",
  "takes all at once, or nothing",
  "only rests, is refused where it would take",
  "takes at once at any price up to the worst",
];
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

function placementRows({ market }, units, call) {
  const isBuy = call.side === 0n;
  const { pays, receives, fee } = worstCase(market, units, call);
  const [paid, received] = isBuy ? ["quoteAmount", "baseAmount"] : ["baseAmount", "quoteAmount"];
  const rows = [
    ["Action", `${isBuy ? "Buy" : "Sell"} ${units.formatQuantity(call.lots)} ${units.base.symbol}`],
    ["Market", `${units.name}, number ${call.market}`],
    [isBuy ? "Price at most" : "Price at least", `${units.formatPrice(call.price)} ${units.quote.symbol} per ${units.base.symbol}`],
    ["Kind", KINDS[Number(call.kind)] ?? "unknown"],
    ["You pay at most", units[paid](pays)],
    ["You receive, filled whole, at least", units[received](receives)],
    ["Trading fee at that price, at most", `${units[received](fee)}, of what you receive`],
  ];
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
