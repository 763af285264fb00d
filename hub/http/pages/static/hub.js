// Sends a job, follows its events, shows pictures as they grow, then receipt and mint. Text only ever as textContent.

const $ = (id) => document.getElementById(id);
const ENDS = new Set(["done", "failed", "cancelled"]);
let current = null; // The job that is watched.

function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", isBad);
}

async function ask(method, path, body, headers = {}) {
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${$("key").value.trim()}`, "Content-Type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail || `the hub answered ${answer.status}`);
  return said;
}

function order() {
  const lines = $("prompt").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const fields = { width: Number($("width").value), height: Number($("height").value), steps: Number($("steps").value) };
  if ($("model").value) fields.model = $("model").value;
  return lines.length > 1 ? { ...fields, prompts: lines } : { ...fields, prompt: lines[0] || "", n: Number($("count").value) };
}

function ait(atoms) {
  const digits = String(atoms).padStart(19, "0");
  const fraction = digits.slice(-18).replace(/0+$/, "");
  return digits.slice(0, -18) + (fraction ? "." + fraction : "");
}

function frames(count) {
  $("pictures").replaceChildren();
  for (let number = 0; number < count; number += 1) {
    const figure = document.createElement("figure");
    figure.className = "growing";
    figure.dataset.number = number;
    const image = document.createElement("img");
    image.alt = `Picture ${number + 1}`;
    const caption = document.createElement("figcaption");
    caption.textContent = "waits";
    figure.append(image, caption);
    $("pictures").append(figure);
  }
}

const frame = (number) => $("pictures").querySelector(`figure[data-number="${Number(number)}"]`);

function glimpse(event) {
  const figure = frame(event.picture);
  if (!figure || figure.dataset.done) return;
  figure.querySelector("figcaption").textContent = `step ${event.step} of ${event.steps}`;
  if (typeof event.preview_base64 === "string" && event.preview_base64.startsWith("data:image/jpeg;base64,")) {
    figure.querySelector("img").src = event.preview_base64;
  }
}

async function showPictures(job) {
  for (const picture of job.pictures) {
    const figure = frame(picture.number);
    if (!figure || figure.dataset.done) continue;
    figure.dataset.done = "yes";
    figure.className = "";
    figure.querySelector("img").src = picture.url;
    figure.querySelector("figcaption").textContent = `seed ${picture.seed}`;
  }
  $("progress").value = job.pictures_done / job.pictures_asked;
}

function fact(name, value) {
  const term = document.createElement("dt");
  term.textContent = name;
  const description = document.createElement("dd");
  description.textContent = value;
  $("facts").append(term, description);
}

function showProof(job) {
  $("proof").hidden = !job.receipt;
  if (!job.receipt) return;
  $("facts").replaceChildren();
  fact("job", job.job_id);
  fact("receipt", job.receipt_hash);
  fact("signed by", job.provider);
  fact("units", `${job.receipt.units} ${job.receipt.unit_type}`);
  fact("amount", `${ait(job.receipt.amount)} AIT`);
  fact("mint", job.mint.state + (job.mint.transaction_hash ? ` ${job.mint.transaction_hash} at height ${job.mint.height}` : ""));
  const body = $("shares").querySelector("tbody");
  body.replaceChildren();
  $("shares").hidden = job.payouts.length === 0;
  for (const payout of job.payouts) {
    const parts = job.shards.filter((shard) => shard.provider === payout.provider);
    const row = document.createElement("tr");
    const cells = [
      payout.provider,
      parts.reduce((sum, shard) => sum + shard.pictures, 0),
      parts.reduce((sum, shard) => sum + Number(shard.units), 0).toFixed(3),
      ait(payout.amount),
    ];
    for (const text of cells) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    body.append(row);
  }
}

// Server-sent events over fetch, because EventSource cannot send a key; taken up again where it broke off.
async function* events(jobId, isOver) {
  let last = 0;
  while (!isOver()) {
    try {
      const answer = await fetch(`/v1/jobs/${jobId}/events`, {
        headers: { Authorization: `Bearer ${$("key").value.trim()}`, "Last-Event-ID": String(last) },
      });
      if (!answer.ok) throw new Error(`the hub answered ${answer.status}`);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        let end;
        while ((end = text.indexOf("\n\n")) >= 0) {
          const data = text.slice(0, end).split("\n").find((line) => line.startsWith("data: "));
          text = text.slice(end + 2);
          if (!data) continue;
          const event = JSON.parse(data.slice(6));
          if (event.sequence) last = event.sequence;
          yield event;
        }
      }
    } catch (error) {
      say(`${error.message}; trying again`, true);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function watch(jobId) {
  current = jobId;
  let isOver = false;
  for await (const event of events(jobId, () => isOver || current !== jobId)) {
    if (current !== jobId) return;
    if (event.kind === "preview" || event.kind === "step" || event.kind === "progress") glimpse(event);
    else if (event.kind === "pictures" || event.kind === "pictures_refused") await showPictures(await ask("GET", `/v1/jobs/${jobId}`));
    else say(event.kind.replace("_", " "));
    if (ENDS.has(event.kind)) {
      isOver = true;
      break;
    }
  }
  if (current === jobId) await finish(jobId);
}

async function finish(jobId) {
  $("cancel").hidden = true;
  for (let attempt = 0; attempt < 120 && current === jobId; attempt += 1) {
    const job = await ask("GET", `/v1/jobs/${jobId}`);
    await showPictures(job);
    showProof(job);
    say(job.detail ? `${job.status}: ${job.detail}` : job.status, job.status === "failed");
    if (!job.receipt || job.mint.state === "minted") return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function models() {
  try {
    const listed = await ask("GET", "/v1/models");
    const options = listed.data.map((model) => new Option(model.id, model.id));
    $("model").replaceChildren(new Option("any", ""), ...options);
  } catch {
    // Without a good key there is no list; sending says why.
  }
}

$("key").addEventListener("change", models);
$("order").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("send").disabled = true;
  try {
    say("sending");
    const job = await ask("POST", "/v1/jobs", order(), { "Idempotency-Key": crypto.randomUUID() });
    frames(job.pictures_asked);
    $("progress").hidden = $("cancel").hidden = false;
    $("progress").value = 0;
    $("proof").hidden = true;
    say(job.status);
    watch(job.job_id).catch((error) => say(error.message, true));
  } catch (error) {
    say(error.message, true);
  } finally {
    $("send").disabled = false;
  }
});
$("estimate").addEventListener("click", async () => {
  try {
    const offer = await ask("POST", "/v1/estimate", order());
    say(`${ait(offer.least_amount)} to ${ait(offer.most_amount)} AIT, done in about ${Math.ceil(offer.ends_in_s)} s by ${offer.providers} provider(s)`);
  } catch (error) {
    say(error.message, true);
  }
});
$("cancel").addEventListener("click", async () => {
  try {
    if (current) await ask("POST", `/v1/jobs/${current}/cancel`);
  } catch (error) {
    say(error.message, true);
  }
});
