// What people do at a hub's page: `node hub.mjs SCENARIO`.

import { run } from "../clients/scenario.mjs";
import { DESKTOP, PHONE, Person, SOON_MS, inBrowsers, report } from "./exchange_person.mjs";

const SIZES = [DESKTOP, { width: 800, height: 900 }, PHONE];

async function order(page, { apiKey, prompt, ...fields }) {
  await page.getByLabel("API key").fill(apiKey);
  await page.getByLabel("API key").blur();
  await page.getByLabel("What to draw").fill(prompt);
  for (const [label, value] of Object.entries({ Width: "256", Height: "256", Steps: "5", ...fields })) {
    await page.getByLabel(label, { exact: true }).fill(value);
  }
}

const status = (page, form) => page.locator("#status").filter({ hasText: form }).waitFor({ timeout: SOON_MS });
const facts = async (page) => {
  const [names, values] = [await page.locator("#facts dt").allTextContents(), await page.locator("#facts dd").allTextContents()];
  return Object.fromEntries(names.map((name, at) => [name, values[at]]));
};
const shown = (page) => page.locator("#pictures img").evaluateAll((images) => images.map((image) => (image.complete ? image.naturalWidth : 0)));

/** Somebody asks for the price, draws, watches the pictures grow, reads the receipt, and loads the page anew. */
async function draw(browser, { pageUrl, pictures, apiKey, prompt }) {
  const person = await Person.arrive(browser, pageUrl, null);
  const { page } = person;
  await order(page, { apiKey, prompt });
  await page.locator("#model option").nth(1).waitFor({ state: "attached", timeout: SOON_MS });
  const models = await page.locator("#model option").allTextContents();
  await page.getByRole("button", { name: "What would it cost?" }).click();
  await status(page, /AIT, done by/);
  const offered = await page.locator("#status").textContent();
  await page.getByRole("button", { name: "Draw", exact: true }).click();
  await page.locator("figure.growing img[src^='data:image/jpeg']").first().waitFor({ timeout: SOON_MS });
  const growing = await page.locator("#pictures figcaption").allTextContents();
  const begun = await page.locator("#progress").evaluate((bar) => bar.value);
  await person.picture(pictures, "hub-growing");
  await status(page, "Done, and paid on the chain.");
  await person.picture(pictures, "hub-done");
  const receipt = await facts(page);
  const shares = await Promise.all((await page.locator("#shares tr").all()).map((row) => row.locator("td").allTextContents()));
  await page.waitForFunction(() => [...document.images].every((image) => image.complete));
  const widths = await shown(page);
  await page.reload();
  await status(page, "Done, and paid on the chain.");
  const again = await facts(page);
  return { models, offered, growing, begun, receipt, shares, widths, again, address: page.url(), ...report(person) };
}

/** What cannot be is said in the hub's words; what is not wanted any more is taken back. */
async function trouble(browser, { pageUrl, apiKey, pictures }) {
  const person = await Person.arrive(browser, pageUrl, null);
  const { page } = person;
  const told = [];
  const send = async (form) => {
    await page.getByRole("button", { name: "Draw", exact: true }).click();
    await status(page, form);
    told.push(await page.locator("#status").textContent());
  };
  await order(page, { apiKey: "nobody-0123456789abcdef", prompt: "a cat" });
  await status(page, "does not know");
  await send(/API key/);
  await order(page, { apiKey, prompt: " " });
  await send("say what to draw");
  await order(page, { apiKey, prompt: "a cat", "At most, AIT": "a lot" });
  await send("such as 1.5");
  await order(page, { apiKey, prompt: "a cat", "At most, AIT": "0.000001" });
  await send("for so little");
  await person.picture(pictures, "hub-refused");
  await order(page, { apiKey, prompt: "<img src=x onerror=alert(1)>\nanother", "At most, AIT": "" });
  await page.getByRole("button", { name: "Draw", exact: true }).click();
  await page.getByRole("button", { name: "Cancel" }).click({ timeout: SOON_MS });
  await status(page, /^Cancelled/);
  told.push(await page.locator("#status").textContent());
  await person.picture(pictures, "hub-cancelled");
  const captions = await page.locator("#pictures figcaption").allTextContents();
  const unmade = await page.locator("#unmade").textContent();
  return { told, captions, unmade, ...report(person) };
}

/** What the page says from now on, one after the other; to be asked for with `told`. */
const listen = (page) =>
  page.locator("#status").evaluate((element) => {
    window.told = [];
    new MutationObserver(() => window.told.push(element.textContent)).observe(element, { childList: true, characterData: true, subtree: true });
  });
const told = (page) => page.evaluate(() => window.told);

/** The hub goes away while a job is followed, and somebody takes the job back elsewhere once it is there again. */
async function outlast(browser, { pageUrl, apiKey, prompt }) {
  const { page } = await Person.arrive(browser, pageUrl, null);
  await order(page, { apiKey, prompt });
  await listen(page);
  await page.getByRole("button", { name: "Draw", exact: true }).click();
  await status(page, /^Cancelled/);
  return { told: await told(page) };
}

/** A job is taken back while some of its pictures are there: everything that the page says from then on. */
async function takeBack(browser, { pageUrl, apiKey, prompt, pictures }) {
  const person = await Person.arrive(browser, pageUrl, null);
  const { page } = person;
  await order(page, { apiKey, prompt });
  await page.getByRole("button", { name: "Draw", exact: true }).click();
  await page.locator("#pictures figure[data-sha256]").first().waitFor({ timeout: SOON_MS });
  await listen(page);
  await page.getByRole("button", { name: "Cancel" }).click({ timeout: SOON_MS });
  await status(page, /^Cancelled/);
  await page.waitForFunction(() => [...document.images].every((image) => image.complete));
  await person.picture(pictures, "hub-taken-back");
  const unmade = await page.locator("#unmade").textContent();
  return { told: await told(page), unmade, widths: await shown(page), ...report(person) };
}

/** With the keyboard alone; and what a screen reader is told of the page. */
async function keyboard(browser, { pageUrl, apiKey }) {
  const person = await Person.arrive(browser, pageUrl, null, { viewport: PHONE });
  const { page } = person;
  const tabTo = async (selector) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
    }
    throw new Error(`the Tab key does not reach ${selector}`);
  };
  await tabTo(".skip");
  await tabTo("#prompt");
  await page.keyboard.type("a lighthouse");
  await tabTo("#width");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("256");
  await tabTo("#key");
  await page.keyboard.type(apiKey);
  await page.keyboard.press("Enter");
  await status(page, /Waiting|at work|Done|checked|signed/);
  const spoken = await page.locator("body").ariaSnapshot();
  return { spoken, ...report(person) };
}

/** The page on every width, light and dark, of a job that is done; and without JavaScript. */
async function looks(browser, { pageUrl, apiKey, jobId, pictures }) {
  const tooWide = [];
  for (const viewport of SIZES) {
    for (const colorScheme of ["light", "dark"]) {
      const person = await Person.arrive(browser, pageUrl, null, { viewport, colorScheme });
      const { page } = person;
      await person.picture(pictures, `hub-${viewport.width}-${colorScheme}-empty`);
      await page.evaluate((key) => sessionStorage.setItem("aitbc-hub-key", key), apiKey);
      await page.goto(`${pageUrl}#${jobId}`);
      await page.reload();
      await status(page, "Done, and paid on the chain.");
      await page.waitForFunction(() => [...document.images].every((image) => image.complete));
      tooWide.push(await person.isWiderThanScreen());
      await person.picture(pictures, `hub-${viewport.width}-${colorScheme}`);
    }
  }
  const plain = await Person.arrive(browser, pageUrl, null, { javaScriptEnabled: false, viewport: PHONE });
  await plain.picture(pictures, "hub-plain");
  return { tooWide, plain: await plain.page.locator("main").innerText(), isForm: await plain.page.locator("#order").isVisible() };
}

await run(inBrowsers({ draw, trouble, takeBack, outlast, keyboard, looks }));
