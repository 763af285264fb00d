// A market's prices and quantities as people say them, and as the chain counts them; exactly, or refused: the same rules as
// chain/primitives/market_units.py. Everything is BigInt: atoms, lots, quote atoms per lot.

const MAX_LOTS = 2n ** 48n - 1n;
const MAX_PRICE_TICKS = 2n ** 32n - 1n;
const NUMBER = /^([0-9]{1,80})(?:\.([0-9]{1,80}))?(?:\/([1-9][0-9]{0,79}))?$/;

/** What somebody typed cannot be; `field` says where. */
export class Refusal extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

function divisor(a, b) {
  while (b) [a, b] = [b, a % b];
  return a;
}

function reduced(numerator, denominator) {
  const common = divisor(numerator, denominator) || 1n;
  return [numerator / common, denominator / common];
}

/** Numerator and denominator of `1.5` or `1/3`. */
function parseNumber(text, field) {
  const match = NUMBER.exec(text.trim());
  if (match === null || (match[2] && match[3])) {
    throw new Refusal(field, "Type a number such as 1.5.");
  }
  const fraction = match[2] ?? "";
  return reduced(BigInt(match[1] + fraction), match[3] ? BigInt(match[3]) : 10n ** BigInt(fraction.length));
}

/** `1.5` of 1500000 with 6 decimals. */
export function formatUnits(atoms, decimals) {
  const digits = atoms.toString().padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return fraction ? `${whole}.${fraction}` : whole;
}

/** The decimal number without trailing zeros, or `1/3` where no decimal number is exact. */
export function formatRatio(numerator, denominator) {
  [numerator, denominator] = reduced(numerator, denominator);
  let places = 0;
  let rest = denominator;
  for (const prime of [2n, 5n]) {
    let power = 0;
    for (; rest % prime === 0n; rest /= prime) power += 1;
    places = Math.max(places, power);
  }
  if (rest !== 1n) return `${numerator}/${denominator}`;
  return formatUnits((numerator * 10n ** BigInt(places)) / denominator, places);
}

function padded(number, places) {
  if (places === 0 || number.includes("/")) return number;
  const [whole, fraction = ""] = number.split(".");
  return `${whole}.${fraction.padEnd(places, "0")}`;
}

const placesOf = (number) => (number.split(".")[1] ?? "").length;

export class Units {
  /** `market` as GET /v1/markets/{market} has it. */
  constructor({ base, quote, lot, tick, minimum_lots: minimumLots }) {
    Object.assign(this, { base, quote, lot: BigInt(lot), tick: BigInt(tick), minimumLots: BigInt(minimumLots) });
    this.name = `${base.symbol}/${quote.symbol}`;
    // Quote atoms per lot at a price of 1, as a ratio.
    this.one = reduced(this.lot * 10n ** BigInt(quote.decimals), 10n ** BigInt(base.decimals));
    this.priceStep = this.formatPrice(this.tick);
    this.pricePlaces = placesOf(this.priceStep);
    this.quantityPlaces = placesOf(this.formatQuantity(1n));
  }

  #ticks(text, field) {
    const [numerator, denominator] = parseNumber(text, field);
    return reduced(numerator * this.one[0], denominator * this.one[1] * this.tick);
  }

  /** Quote atoms per lot. Throws Refusal that names the nearest prices. */
  parsePrice(text, field = "price") {
    const [ticks, rest] = this.#ticks(text, field);
    if (rest === 1n && ticks >= 1n && ticks <= MAX_PRICE_TICKS) return ticks * this.tick;
    const below = ticks / rest < MAX_PRICE_TICKS ? ticks / rest : MAX_PRICE_TICKS;
    const near = [below, below + 1n].filter((each) => each >= 1n && each <= MAX_PRICE_TICKS);
    const named = near.map((each) => this.formatPrice(each * this.tick)).join(" and ");
    throw new Refusal(field, `Prices go in steps of ${this.priceStep} ${this.quote.symbol}; nearest: ${named}.`);
  }

  /** The same for a bound of any fineness: made stricter to a whole tick, never laxer. */
  parseWorstPrice(text, isBuy, field = "price") {
    const [ticks, rest] = this.#ticks(text, field);
    const strict = isBuy ? ticks / rest : (ticks + rest - 1n) / rest;
    if (strict >= 1n && strict <= MAX_PRICE_TICKS) return strict * this.tick;
    const highest = this.formatPrice(MAX_PRICE_TICKS * this.tick);
    throw new Refusal(field, `The worst price must be ${this.priceStep} to ${highest} ${this.quote.symbol}.`);
  }

  /** Lots. Throws Refusal that names the nearest quantities. */
  parseQuantity(text, field = "quantity") {
    const [numerator, denominator] = parseNumber(text, field);
    const [lots, rest] = reduced(numerator * 10n ** BigInt(this.base.decimals), denominator * this.lot);
    const low = this.minimumLots > 1n ? this.minimumLots : 1n;
    if (rest === 1n && lots >= low && lots <= MAX_LOTS) return lots;
    let below = lots / rest;
    if (below < low - 1n) below = low - 1n;
    if (below > MAX_LOTS) below = MAX_LOTS;
    const near = [below, below + 1n].filter((each) => each >= low && each <= MAX_LOTS);
    const named = near.map((each) => `${this.formatQuantity(each)} ${this.base.symbol}`).join(" and ");
    throw new Refusal(field, `Quantities are whole lots of ${this.formatQuantity(1n)}; nearest: ${named}.`);
  }

  formatPrice(perLot) {
    return formatRatio(perLot * this.one[1], this.one[0]);
  }

  formatQuantity(lots) {
    return formatUnits(lots * this.lot, this.base.decimals);
  }

  /** With as many places as a tick has, for columns; `null` is nothing. */
  price(perLot) {
    return perLot === null ? "–" : padded(this.formatPrice(BigInt(perLot)), this.pricePlaces);
  }

  quantity(lots) {
    return padded(this.formatQuantity(BigInt(lots)), this.quantityPlaces);
  }

  change(perLot) {
    if (perLot === null) return "–";
    const number = BigInt(perLot);
    return (number > 0n ? "+" : number < 0n ? "−" : "") + this.price(number < 0n ? -number : number);
  }

  /** For drawing only. */
  drawnPrice(perLot) {
    const [numerator, denominator] = reduced(BigInt(perLot) * this.one[1], this.one[0]);
    return Number(numerator) / Number(denominator);
  }

  baseQuantity(lots) {
    return `${this.formatQuantity(lots)} ${this.base.symbol}`;
  }

  baseAmount(atoms) {
    return `${formatUnits(atoms, this.base.decimals)} ${this.base.symbol}`;
  }

  quoteAmount(atoms) {
    return `${formatUnits(atoms, this.quote.decimals)} ${this.quote.symbol}`;
  }
}
