// A gallery as somebody writes it who has read the provider's documentation: a WebSocket, and nothing else.

const settings = await (await fetch("settings.json")).json();
const picture = document.getElementById("picture");
const progress = document.getElementById("progress");
const heard = [];

async function finish(message) {
  picture.src = message.image_base64;
  await picture.decode();
  report({ heard, seed: message.seed, receiptHash: message.receipt_hash, size: [picture.naturalWidth, picture.naturalHeight] });
}

function report(outcome) {
  document.getElementById("outcome").textContent = JSON.stringify(outcome);
}

function draw() {
  const socket = new WebSocket(settings.liveUrl);
  const say = (message) => socket.send(JSON.stringify(message));
  const order = { prompt: document.getElementById("prompt").value, steps: 10, guidance: 2.5, width: 256, height: 256, seed: 7 };
  const reactions = {
    authenticated: () => say({ type: "generate", preview_every: 2, ...order }),
    step: ({ step, steps }) => Object.assign(progress, { value: step, max: steps }),
    preview: ({ image_base64 }) => (picture.src = image_base64),
    finished: finish,
    failed: ({ reason }) => report({ heard, error: reason }),
    error: ({ reason }) => report({ heard, error: reason }),
  };
  socket.addEventListener("open", () => say({ type: "authenticate", api_key: settings.apiKey }));
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    heard.push(message.type);
    reactions[message.type]?.(message);
  });
  socket.addEventListener("close", ({ code }) => heard.includes("finished") || report({ heard, error: `closed ${code}` }));
}

document.getElementById("draw").addEventListener("click", draw);
document.body.dataset.ready = "";
