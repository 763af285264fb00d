// Candles and depth, drawn by uPlot (vendored). Numbers here are for drawing only; what is shown as text is exact elsewhere.

const LEAST_CANDLES = 40; // So that a young market's few candles are not as wide as the page.
const CANDLE_SHARE = 0.65;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function axes(units) {
  const common = { stroke: () => colour("--text-soft"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
  return [
    { ...common },
    { ...common, size: 72, side: 1, values: (_plot, splits) => splits.map((each) => each.toFixed(Math.min(units.pricePlaces, 6))) },
  ];
}

function sized(holder) {
  return { width: Math.max(holder.clientWidth, 100), height: Math.max(holder.clientHeight, 100) };
}

function kept(holder, plot) {
  new ResizeObserver(() => plot.setSize(sized(holder))).observe(holder);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
}

function drawCandles(plot, intervalS) {
  const [times, opens, highs, lows, closes] = plot.data;
  const { ctx } = plot;
  const width = Math.max(1, Math.floor(CANDLE_SHARE * (plot.valToPos(intervalS, "x", true) - plot.valToPos(0, "x", true))));
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  for (let at = 0; at < times.length; at += 1) {
    const middle = Math.round(plot.valToPos(times[at] + intervalS / 2, "x", true));
    const [open, high, low, close] = [opens, highs, lows, closes].map((each) => Math.round(plot.valToPos(each[at], "y", true)));
    const isUp = closes[at] >= opens[at];
    ctx.fillStyle = colour(isUp ? "--buy" : "--sell");
    ctx.fillRect(middle - 1, high, 2, Math.max(1, low - high));
    ctx.fillRect(middle - Math.floor(width / 2), Math.min(open, close), width, Math.max(2, Math.abs(close - open)));
    if (isUp && width > 6 && Math.abs(close - open) > 6) {
      // Hollow: up and down differ by more than colour.
      ctx.clearRect(middle - Math.floor(width / 2) + 2, Math.min(open, close) + 2, width - 4, Math.abs(close - open) - 4);
    }
  }
  ctx.restore();
}

/** A chart of candles; `show(view)` takes what /v1/markets/{market}/candles answers. */
export function candleChart(holder, units, intervalS) {
  const price = (text) => Number(units.formatPrice(BigInt(text)).split("/")[0]);
  const value = (_plot, number) => (number == null ? "–" : number.toFixed(units.pricePlaces));
  const invisible = { paths: () => null, points: { show: false }, value };
  const plot = new uPlot(
    {
      ...sized(holder),
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: {
          range: (_plot, low, high) => {
            const end = (high ?? Date.now() / 1000) + 2 * intervalS;
            return [Math.min(low ?? end, end - LEAST_CANDLES * intervalS), end];
          },
        },
        y: { range: (_plot, low, high) => (low === null ? [0, 1] : uPlot.rangeNum(low, high, 0.15, true)) },
      },
      axes: axes(units),
      series: [
        { value: (_plot, time) => (time == null ? "–" : `${new Date(time * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`) },
        ...["Open", "High", "Low", "Close"].map((label) => ({ label, ...invisible })),
      ],
      hooks: { draw: [(drawn) => drawCandles(drawn, intervalS)] },
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
    },
    [[], [], [], [], []],
    holder,
  );
  kept(holder, plot);
  return {
    show({ candles }) {
      const column = (name) => candles.map((candle) => price(candle[name]));
      plot.setData([candles.map(({ time_ms: ms }) => ms / 1000), ...["open", "high", "low", "close"].map(column)]);
    },
  };
}

/** How much is to be had up to each price; `show(book)` takes what /v1/markets/{market}/book answers. */
export function depthChart(holder, units) {
  const price = (text) => Number(units.formatPrice(BigInt(text)));
  const quantity = (lots) => Number(units.formatQuantity(lots));
  const stepped = uPlot.paths.stepped({ align: 1 });
  const steppedBack = uPlot.paths.stepped({ align: -1 });
  const value = (_plot, number) => (number == null ? "–" : String(number));
  const area = (label, name, paths) => ({
    label,
    paths,
    value,
    stroke: () => colour(`--${name}`),
    fill: () => `${colour(`--${name}`)}30`,
    width: 2,
    points: { show: false },
  });
  const plot = new uPlot(
    {
      ...sized(holder),
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { time: false, range: (_plot, low, high) => (low === null ? [0, 1] : low === high ? [low * 0.9, high * 1.1] : [low, high]) },
        y: { range: (_plot, _low, high) => [0, (high || 1) * 1.1] },
      },
      axes: axes(units).map((axis, at) => (at === 1 ? { ...axis, values: undefined } : axis)),
      series: [
        { label: "Price", value: (_plot, number) => (number == null ? "–" : number.toFixed(units.pricePlaces)) },
        area("Bids", "buy", steppedBack),
        area("Asks", "sell", stepped),
      ],
    },
    [[], [], []],
    holder,
  );
  kept(holder, plot);
  return {
    show({ bids, asks }) {
      const total = (levels) => {
        let lots = 0n;
        return levels.map((level) => [price(level.price), quantity((lots += BigInt(level.lots)))]);
      };
      const [bought, sold] = [total(bids).reverse(), total(asks)];
      plot.setData([
        [...bought, ...sold].map(([at]) => at),
        [...bought.map(([, sum]) => sum), ...sold.map(() => null)],
        [...bought.map(() => null), ...sold.map(([, sum]) => sum)],
      ]);
    },
  };
}
