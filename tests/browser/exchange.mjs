// What people do at the exchange: `node exchange.mjs SCENARIO`.

import { run } from "../clients/scenario.mjs";
import { DESKTOP, PHONE, Person, SOON_MS, inBrowsers, report } from "./exchange_person.mjs";

/** One sells, another takes a part of it; the first cancels the rest. Both watch, and nobody loads a page anew. */
async function trade(browser, { pageUrl, sellerKey, buyerKey, price, shownPrice, pictures }) {
  const seller = await Person.arrive(browser, pageUrl, sellerKey);
  const buyer = await Person.arrive(browser, pageUrl, buyerKey);
  await seller.connect();
  await seller.fill({ side: "Sell", quantity: "2", price });
  await seller.submit();
  const soldTold = await seller.told();
  await seller.picture(pictures, "confirm");
  const placed = await seller.sign();
  const resting = await seller.rows("orders", "sell");

  const asks = await buyer.rows("asks", shownPrice); // It came by the stream.
  await buyer.page.locator("#asks").getByRole("button", { name: shownPrice }).click();
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
    await person.page.locator("#last").filter({ hasText: shownPrice }).waitFor({ timeout: SOON_MS });
  }
  const partly = await seller.rows("orders", "1.50");
  await seller.picture(pictures, "traded");
  await seller.page.getByRole("button", { name: /^Cancel order/ }).click();
  const cancelTold = await seller.told();
  const cancelled = await seller.sign();
  await seller.page.locator("#no-orders").waitFor({ timeout: SOON_MS });
  await buyer.page.locator("#asks").getByText("no asks").waitFor({ timeout: SOON_MS });
  const balances = await buyer.page.locator("#balances").innerText();
  const told = { soldTold, boughtTold, cancelTold, estimate };
  const outcomes = { placed, bought, cancelled };
  return { told, outcomes, transaction, resting, partly, asks, shown, balances, people: [seller, buyer].map(report) };
}

/** Somebody with orders in a market that takes none any more: the page says why, and cancels them all by a button. */
async function leaving(browser, { pageUrl, key, pictures }) {
  const person = await Person.arrive(browser, pageUrl, key);
  const { page } = person;
  await person.connect();
  const before = await person.rows("orders", "buy");
  await person.fill({ side: "Buy", quantity: "1", price: "0.07" });
  await person.submit();
  const refused = await person.outcome(/halted/);
  await person.picture(pictures, "halted");
  await page.getByRole("button", { name: "Cancel all" }).click();
  const told = await person.told();
  const outcome = await person.sign();
  await page.locator("#no-orders").waitFor({ timeout: SOON_MS });
  await page.locator("#bids").getByText("no bids").waitFor({ timeout: SOON_MS });
  const notice = await page.locator("#notice").textContent();
  return { before, refused, told, outcome, notice, balances: await page.locator("#balances").innerText(), ...report(person) };
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

/** Pages of assets with names of any kind, on a telephone and on a desk. */
async function names(browser, { urls, pictures }) {
  const seen = { headings: [], titles: [], widths: [], images: 0, said: [] };
  for (const viewport of [PHONE, DESKTOP]) {
    for (const [at, url] of urls.entries()) {
      const person = await Person.arrive(browser, url, null, { viewport, isReady: at > 0 });
      if (at > 0) await person.page.locator("#live").filter({ hasText: /^Live$/ }).waitFor({ timeout: SOON_MS });
      seen.headings.push(await person.page.locator("h1").textContent());
      seen.titles.push(await person.page.title());
      seen.widths.push(await person.isWiderThanScreen());
      seen.images += await person.page.locator("img").count();
      seen.said.push(...person.said);
      await person.picture(pictures, `names-${viewport.width}-${at}`);
    }
  }
  return seen;
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

await run(inBrowsers({ trade, leaving, refusals, keyboard, reading, names, modules }));
