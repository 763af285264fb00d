// Candles and depth, drawn by uPlot (vendored). Numbers here are for drawing only; what is shown as text is exact elsewhere.

const LEAST_CANDLES = 40; // So that a young market's few candles are not as wide as the page.
const CANDLE_PX = 6; // Below that nobody tells one from the next.
const DAY_S = 86_400;
const MAX_PLACES = 12;
const PADDING_PX = [12, 8, 0, 34]; // Half of a mark's text beside the first of them.
const CANDLE_SHARE = 0.65;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Places that tell the marks of an axis from each other, and no fewer than `least`. */
function placesOf(step, least) {
  let places = least;
  while (places < MAX_PLACES && Math.abs(step * 10 ** places - Math.round(step * 10 ** places)) > 1e-6) places += 1;
  return places;
}

function axes(units, { times, values }) {
  const common = { stroke: () => colour("--text-soft"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
  const prices = (_plot, splits) => {
    const places = placesOf(splits[1] - splits[0], Math.min(units.pricePlaces, 6));
    return splits.map((each) => each.toFixed(places));
  };
  return [
    { ...common, space: 70, size: 32, values: times ?? prices },
    { ...common, size: 72, side: 1, values: values ?? prices },
  ];
}

/** `22 Nov` where a day begins, `14:00` within it; UTC. */
function timeTexts(_plot, splits) {
  return splits.map((each) => {
    const text = new Date(each * 1000).toUTCString(); // Sun, 22 Nov 2026 14:00:00 GMT
    return each % DAY_S === 0 ? text.slice(5, 11) : text.slice(17, 22);
  });
}

function sized(holder) {
  return { width: Math.max(holder.clientWidth, 100), height: Math.max(holder.clientHeight, 100) };
}

/** Draws columns that have something, else says in words that there is nothing. */
function put(holder, plot, columns) {
  const isEmpty = columns[0].length === 0;
  holder.hidden = isEmpty;
  document.getElementById(`no-${holder.id}`).hidden = !isEmpty;
  plot.setData(columns);
}

function kept(holder, plot) {
  new ResizeObserver(() => plot.setSize(sized(holder))).observe(holder);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
}

function drawCandles(plot, intervalS) {
  const [times, opens, highs, lows, closes] = plot.data;
  const { ctx } = plot;
  const share = CANDLE_SHARE * (plot.valToPos(intervalS, "x", true) - plot.valToPos(0, "x", true));
  const half = Math.max(0, Math.floor(share / 2)); // Of the body, beside the wick: both sides are alike.
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  for (let at = 0; at < times.length; at += 1) {
    const middle = Math.round(plot.valToPos(times[at] + intervalS / 2, "x", true));
    const [open, high, low, close] = [opens, highs, lows, closes].map((each) => Math.round(plot.valToPos(each[at], "y", true)));
    const isUp = closes[at] >= opens[at];
    ctx.fillStyle = colour(isUp ? "--buy" : "--sell");
    const [top, height] = [Math.min(open, close), Math.max(2, Math.abs(close - open))];
    ctx.fillRect(middle, high, 1, Math.max(1, low - high));
    ctx.fillRect(middle - half, top, 2 * half + 1, height);
    if (isUp && half > 2 && height > 6) {
      ctx.clearRect(middle - half + 2, top + 2, 2 * half - 3, height - 4); // Hollow: up and down differ by more than colour.
    }
  }
  ctx.restore();
}

/** A chart of candles; `show(view)` takes what /v1/markets/{market}/candles answers. */
export function candleChart(holder, units, intervalS) {
  const invisible = { paths: () => null, points: { show: false } };
  const plot = new uPlot(
    {
      ...sized(holder),
      padding: PADDING_PX,
      cursor: { show: false },
      legend: { show: false },
      scales: {
        x: {
          // Of the candles themselves: what uPlot proposes for a single one is years wide.
          range: ({ data: [times] }) => {
            const end = (times.at(-1) ?? 0) + 2 * intervalS;
            return [Math.min(times[0] ?? end, end - LEAST_CANDLES * intervalS), end];
          },
        },
        y: { range: (_plot, low, high) => (low === high ? [low * 0.95, high * 1.05] : uPlot.rangeNum(low, high, 0.15, true)) },
      },
      axes: axes(units, { times: timeTexts }),
      series: [{}, ...["Open", "High", "Low", "Close"].map((label) => ({ label, ...invisible }))],
      hooks: { draw: [(drawn) => drawCandles(drawn, intervalS)] },
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
    },
    [[], [], [], [], []],
    holder,
  );
  kept(holder, plot);
  return {
    show({ candles: all }) {
      const candles = all.slice(-Math.max(LEAST_CANDLES, Math.floor(sized(holder).width / CANDLE_PX)));
      const column = (name) => candles.map((candle) => units.drawnPrice(candle[name]));
      put(holder, plot, [candles.map(({ time_ms: ms }) => ms / 1000), ...["open", "high", "low", "close"].map(column)]);
    },
  };
}

/** [prices, lots bid, lots asked] up to each price: a step at each, and both sides go on to the edge of the picture. */
function depthColumns({ bids, asks }, units) {
  const sums = (levels) => {
    let lots = 0n;
    return levels.map((level) => [units.drawnPrice(level.price), Number(units.formatQuantity((lots += BigInt(level.lots))))]);
  };
  const [bought, sold] = [sums(bids), sums(asks)];
  const prices = [...bought, ...sold].map(([price]) => price);
  const margin = (Math.max(...prices) - Math.min(...prices)) * 0.05 || (prices[0] ?? 0) * 0.1;
  if (bought.length > 0) bought.push([Math.max(0, bought.at(-1)[0] - margin), bought.at(-1)[1]]);
  if (sold.length > 0) sold.push([sold.at(-1)[0] + margin, sold.at(-1)[1]]);
  bought.reverse();
  return [
    [...bought, ...sold].map(([price]) => price),
    [...bought.map(([, sum]) => sum), ...sold.map(() => null)],
    [...bought.map(() => null), ...sold.map(([, sum]) => sum)],
  ];
}

/** How much is to be had up to each price; `show(book)` takes what /v1/markets/{market}/book answers. */
export function depthChart(holder, units) {
  const area = (label, name, align) => ({
    label,
    paths: uPlot.paths.stepped({ align }),
    stroke: () => colour(`--${name}`),
    fill: () => `${colour(`--${name}`)}30`,
    width: 2,
    points: { show: false },
  });
  const plot = new uPlot(
    {
      ...sized(holder),
      padding: PADDING_PX,
      cursor: { show: false },
      legend: { show: false },
      scales: {
        x: { time: false, range: ({ data: [prices] }) => [prices[0] ?? 0, prices.at(-1) ?? 1] },
        y: { range: (_plot, _low, high) => [0, (high || 1) * 1.1] },
      },
      axes: axes(units, { values: (_plot, splits) => splits.map(String) }),
      series: [{}, area("Bids", "buy", -1), area("Asks", "sell", 1)],
    },
    [[], [], []],
    holder,
  );
  kept(holder, plot);
  return { show: (book) => put(holder, plot, depthColumns(book, units)) };
}
