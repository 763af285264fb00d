// The form of an order: what was typed, what it would come to, and what is wrong with it.

import { Refusal } from "./units.js";
import { worstCase } from "./orders.js";
import { element } from "./view.js";

const GOOD_TILL_HEIGHT = "1";
const MARKET_KIND = "5";
const FIELDS = ["quantity", "price", "expiry"];

/** Shows the form; `onSubmit` is called when somebody wants what it says. */
export function orderForm(settings, units, onSubmit) {
  const form = element("order-form");
  const typed = () => Object.fromEntries(["side", "kind", ...FIELDS].map((name) => [name, form.elements[name].value]));

  function showRefusal(refusal) {
    for (const name of FIELDS) {
      const isAtFault = name === refusal?.field;
      element(`${name}-fault`).textContent = isAtFault ? refusal.message : "";
      element(name).setAttribute("aria-invalid", String(isAtFault));
    }
    if (refusal) element(refusal.field).focus();
  }

  function estimateText() {
    const { side, kind, quantity, price } = typed();
    const isBuy = side === "buy";
    try {
      const perLot = kind === MARKET_KIND ? units.parseWorstPrice(price, isBuy) : units.parsePrice(price);
      const order = { side: isBuy ? 0n : 1n, price: perLot, lots: units.parseQuantity(quantity) };
      const { pays, receives } = worstCase(settings.market, units, order);
      const [paid, received] = isBuy ? ["quoteAmount", "baseAmount"] : ["baseAmount", "quoteAmount"];
      return `Pays at most ${units[paid](pays)}; filled whole, receives at least ${units[received](receives)}.`;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return ""; // It is said at the field once they want it sent.
    }
  }

  function onInput() {
    const { side, kind } = typed();
    element("place").textContent = `${side === "buy" ? "Buy" : "Sell"} ${units.base.symbol}`;
    element("place").classList.toggle("selling", side !== "buy");
    element("expiry-row").hidden = kind !== GOOD_TILL_HEIGHT;
    element("price-label").textContent = kind === MARKET_KIND ? "Worst price" : "Price";
    element("estimate").textContent = estimateText();
    showRefusal(null);
  }

  form.addEventListener("input", onInput);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onSubmit();
  });
  onInput();
  form.hidden = false;
  return {
    typed,
    showRefusal,
    usePrice(perLot) {
      form.elements.price.value = units.formatPrice(perLot);
      onInput();
      form.elements.quantity.focus();
    },
  };
}
