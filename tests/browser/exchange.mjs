// People at the exchange, each with a browser and a wallet of their own: `node exchange.mjs SCENARIO`. What they do, they do by
// the names that a screen reader would say.

import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { run } from "../clients/scenario.mjs";
import { CHROMIUM, walletOf } from "./keyed_wallet.mjs";

const SOON_MS = 60_000;
const PHONE = { width: 360, height: 740 };
const DESKTOP = { width: 1360, height: 900 };

class Person {
  constructor(page, seen) {
    Object.assign(this, seen, { page });
  }

  /** Somebody with a browser; `key` null: with no wallet. */
  static async arrive(browser, url, key, { viewport = DESKTOP, ...options } = {}) {
    const seen = { prompts: [], said: [], asked: new Set() };
    const context = await browser.newContext({ viewport, ...options });
    if (key !== null) {
      await context.exposeFunction("walletPrompt", walletOf(key, seen.prompts));
      await context.addInitScript({ path: "injected_provider.js" });
    }
    const page = await context.newPage();
    page.on("console", (message) => seen.said.push(message.text()));
    page.on("pageerror", (error) => seen.said.push(String(error)));
    page.on("request", (request) => seen.asked.add(new URL(request.url()).origin));
    await page.goto(url);
    if (options.javaScriptEnabled !== false) await page.waitForSelector("body[data-ready]", { timeout: SOON_MS });
    return new Person(page, seen);
  }

  async connect() {
    await this.page.getByRole("button", { name: "Connect wallet" }).click();
    await this.page.getByRole("button", { name: "Disconnect" }).waitFor({ timeout: SOON_MS });
  }

  async fill({ side, kind, quantity, price, expiry }) {
    const { page } = this;
    if (side) await page.getByRole("radio", { name: side }).check();
    if (kind) await page.getByLabel("Kind").selectOption({ label: kind });
    if (quantity) await page.getByRole("textbox", { name: "Quantity" }).fill(quantity);
    if (price) await page.getByRole("textbox", { name: /^(Worst )?price/i }).fill(price);
    if (expiry) await page.getByRole("textbox", { name: "Last block" }).fill(expiry);
  }

  submit() {
    return this.page.locator("#place").click();
  }

  /** What the page says the wallet will sign, by label; null where it asks nothing. */
  async told() {
    const dialog = this.page.getByRole("dialog", { name: "Check before you sign" });
    await dialog.waitFor({ timeout: SOON_MS });
    const [labels, texts] = [await dialog.locator("dt").allTextContents(), await dialog.locator("dd").allTextContents()];
    return Object.fromEntries(labels.map((label, at) => [label, texts[at]]));
  }

  async sign() {
    await this.page.getByRole("button", { name: "Sign in wallet" }).click();
    return this.outcome(/^(Done|Failed)|declined/);
  }

  async outcome(form) {
    await this.page.locator("#outcome").filter({ hasText: form }).waitFor({ timeout: SOON_MS });
    return this.page.locator("#outcome").textContent();
  }

  /** Rows of a table's body as texts, once one of them has this text. */
  async rows(id, containing) {
    if (containing) await this.page.locator(`#${id} tr`).filter({ hasText: containing }).first().waitFor({ timeout: SOON_MS });
    const rows = await this.page.locator(`#${id} tr`).all();
    return Promise.all(rows.map((row) => row.locator("td, th").allTextContents()));
  }

  async isWiderThanScreen() {
    return this.page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  }

  async picture(folder, name) {
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  }
}

function atBrowser(scenario) {
  return async (inputs) => {
    const browser = await chromium.launch({ executablePath: inputs.chromiumPath, headless: true, ...CHROMIUM });
    try {
      return await scenario(browser, inputs);
    } finally {
      await browser.close();
    }
  };
}

const report = ({ prompts, said, asked }) => ({ prompts, said, asked: [...asked] });

/** One sells, another takes a part of it; the first cancels the rest. Both watch, and nobody loads a page anew. */
async function trade(browser, { pageUrl, sellerKey, buyerKey, pictures }) {
  const seller = await Person.arrive(browser, pageUrl, sellerKey);
  const buyer = await Person.arrive(browser, pageUrl, buyerKey);
  await seller.connect();
  await seller.fill({ side: "Sell", quantity: "2", price: "0.07" });
  await seller.submit();
  const soldTold = await seller.told();
  await seller.picture(pictures, "confirm");
  const placed = await seller.sign();
  const resting = await seller.rows("orders", "sell");

  const asks = await buyer.rows("asks", "0.070"); // It came by the stream.
  await buyer.page.locator("#asks").getByRole("button", { name: "0.070" }).click();
  await buyer.fill({ side: "Buy", kind: "Immediate or cancel", quantity: "1.5" });
  const estimate = await buyer.page.locator("#estimate").textContent();
  await buyer.submit(); // Connecting is a part of it.
  const boughtTold = await buyer.told();
  const bought = await buyer.sign();
  const transaction = /0x[0-9a-f]{64}/.exec(bought)[0];

  const shown = [];
  for (const person of [seller, buyer]) {
    await person.page.locator(`#trades tr[data-transaction="${transaction}"]`).waitFor({ timeout: SOON_MS });
    shown.push((await person.rows("trades"))[0]);
    await person.page.locator("#last").filter({ hasText: "0.070" }).waitFor({ timeout: SOON_MS });
  }
  const partly = await seller.rows("orders", "1.50");
  await seller.picture(pictures, "desktop");
  await seller.page.getByRole("button", { name: /^Cancel order/ }).click();
  const cancelTold = await seller.told();
  const cancelled = await seller.sign();
  await seller.page.locator("#no-orders").waitFor({ timeout: SOON_MS });
  await buyer.page.locator("#asks").getByText("none").waitFor({ timeout: SOON_MS });
  const balances = await buyer.page.locator("#balances").innerText();
  const told = { soldTold, boughtTold, cancelTold, estimate };
  const outcomes = { placed, bought, cancelled };
  return { told, outcomes, transaction, resting, partly, asks, shown, balances, people: [seller, buyer].map(report) };
}

/** What cannot be is said before anybody signs; what somebody thinks better of is not signed. */
async function refusals(browser, { pageUrl, buyerKey }) {
  const person = await Person.arrive(browser, pageUrl, buyerKey);
  const { page } = person;
  const fault = async (id) => {
    await page.locator(`#${id}-fault:not(:empty)`).waitFor({ timeout: SOON_MS });
    const focused = await page.evaluate(() => document.activeElement.id);
    return [await page.locator(`#${id}-fault`).textContent(), focused];
  };
  await person.fill({ side: "Buy", quantity: "1", price: "0.0705" });
  await person.submit();
  const offTick = await fault("price");
  await person.fill({ quantity: "1.005", price: "0.07" });
  await person.submit();
  const offLot = await fault("quantity");
  await person.fill({ kind: "Limit, until a block", quantity: "1", expiry: "soon" });
  await person.submit();
  const noBlock = await fault("expiry");
  await person.fill({ kind: "Limit, until cancelled", quantity: "1000000000" });
  await person.submit();
  const tooMuch = await person.outcome(/insufficient/i);
  await person.fill({ quantity: "1" });
  await person.submit();
  await person.told();
  await page.keyboard.press("Escape");
  await person.submit();
  await person.told();
  await page.getByRole("button", { name: "Go back" }).click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  return { offTick, offLot, noBlock, tooMuch, ...report(person) };
}

/** With the keyboard alone, on a telephone's screen, with two wallets in the browser. */
async function keyboard(browser, { pageUrl, buyerKey, pictures }) {
  const person = await Person.arrive(browser, pageUrl, buyerKey, { viewport: PHONE });
  const { page } = person;
  await page.evaluate(() => {
    const info = { uuid: "2", name: "Another <b>wallet</b>", icon: "https://icons.example/a.png", rdns: "org.example.another" };
    const provider = { request: () => Promise.reject(new Error("not this one")) };
    dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: { info, provider } }));
  });
  const tabTo = async (matches) => {
    for (let presses = 0; presses < 200; presses += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((selector) => document.activeElement.matches(selector), matches)) return;
    }
    throw new Error(`the Tab key does not reach ${matches}`);
  };
  await tabTo(".skip");
  await tabTo("#connect");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Choose a wallet" });
  await dialog.waitFor();
  const offered = await dialog.locator("#wallet-list button").allTextContents();
  await page.keyboard.press("Enter"); // The first has the focus.
  await page.getByRole("button", { name: "Disconnect" }).waitFor({ timeout: SOON_MS });
  await tabTo("[name=side]");
  await page.keyboard.press("ArrowRight");
  await tabTo("#quantity");
  await page.keyboard.type("0.5");
  await tabTo("#price");
  await page.keyboard.type("0.09");
  await page.keyboard.press("Enter");
  const told = await person.told();
  await person.picture(pictures, "confirm-phone");
  await page.keyboard.press("Enter"); // The button that signs has the focus.
  const outcome = await person.outcome(/^(Done|Failed)/);
  await person.rows("orders", "0.50");
  await person.picture(pictures, "phone");
  return { told, outcome, offered, isTooWide: await person.isWiderThanScreen(), ...report(person) };
}

/** What a reader without JavaScript sees, and what a screen reader is told of the page. */
async function reading(browser, { pageUrl, marketsUrl, address, pictures }) {
  const plain = await Person.arrive(browser, pageUrl, null, { javaScriptEnabled: false, viewport: PHONE });
  const isForm = await plain.page.locator("#order-form").isVisible();
  await plain.page.getByRole("textbox", { name: "Show the open orders of an address" }).fill(address);
  await plain.page.getByRole("button", { name: "Show" }).click();
  const rows = Object.fromEntries(await Promise.all(["bids", "asks", "trades", "orders"].map(async (id) => [id, await plain.rows(id)])));
  const said = await plain.page.locator("body").ariaSnapshot();
  await plain.picture(pictures, "plain-phone");
  await plain.page.goto(marketsUrl);
  const markets = await plain.page.locator("tbody tr").first().locator("th, td").allTextContents();
  await plain.picture(pictures, "markets-phone");
  const widths = [];
  for (const viewport of [PHONE, { width: 800, height: 900 }, DESKTOP]) {
    const person = await Person.arrive(browser, pageUrl, null, { viewport, colorScheme: viewport === DESKTOP ? "dark" : "light" });
    await person.page.locator("#live").filter({ hasText: /^Live$/ }).waitFor({ timeout: SOON_MS });
    widths.push(await person.isWiderThanScreen());
    await person.page.getByRole("button", { name: "Connect wallet" }).click();
    await person.page.getByText("No wallet has announced itself").waitFor();
    await person.page.getByRole("button", { name: "Close" }).click();
    await person.picture(pictures, `width-${viewport.width}`);
  }
  return { isForm, rows, said, markets, widths };
}

/** What the page's own modules make of values: for comparison with the chain's. */
async function modules(browser, { pageUrl, calls, numbers, market }) {
  const { page } = await Person.arrive(browser, pageUrl, null);
  return page.evaluate(
    async ([calls, numbers, market]) => {
      const { encodeCall, decodeCall } = await import("/exchange/static/abi.js");
      const { Units } = await import("/exchange/static/units.js");
      const attempt = (work) => {
        try {
          return String(work());
        } catch (error) {
          return error.constructor.name;
        }
      };
      const typed = ({ type }, value) => (type.startsWith("uint") ? BigInt(value) : value);
      const encoded = calls.map(({ described, values }) =>
        attempt(() => encodeCall(described, described.parameters.map((each, at) => typed(each, values[at])))),
      );
      const decoded = calls.map(({ described, data }) => attempt(() => Object.values(decodeCall(described, data))));
      const units = new Units(market);
      const parsed = numbers.map((text) => [
        attempt(() => units.parsePrice(text)),
        attempt(() => units.parseWorstPrice(text, true)),
        attempt(() => units.parseWorstPrice(text, false)),
        attempt(() => units.parseQuantity(text)),
      ]);
      const shown = numbers.filter((text) => /^[0-9]+$/.test(text)).map((text) => [units.formatPrice(BigInt(text)), units.formatQuantity(BigInt(text))]);
      return { encoded, decoded, parsed, shown };
    },
    [calls, numbers, market],
  );
}

const scenarios = { trade, refusals, keyboard, reading, modules };
await run(Object.fromEntries(Object.entries(scenarios).map(([name, scenario]) => [name, atBrowser(scenario)])));
