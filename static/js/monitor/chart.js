// The history as a chart in which one can read and zoom; without it, the page has the same as lines and as a table.

import uPlot from "../../vendor/uplot/uPlot.esm.js";

const HEIGHT = 320;

const figure = document.querySelector("[data-chart]");
const told = JSON.parse(document.getElementById("plot")?.textContent ?? "null");

function color(name) {
  // Resolved by the browser: a canvas does not know light-dark().
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  figure.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function options() {
  const { zone } = told;
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
  const tick = (seconds) => (clock.format(seconds * 1000) === "00:00" ? day : clock).format(seconds * 1000);
  const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
  const series = told.names.map((label, number) => ({
    label,
    stroke: color(`--line-${number + 1}`),
    width: 2,
    spanGaps: false,
    value: (_, value) => (value === null ? "–" : `${value.toLocaleString("en")} ${told.unit}`),
  }));
  return {
    width: figure.clientWidth,
    height: HEIGHT,
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.05] } },
    // The days of the site, whatever the reader's clock says.
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
    axes: [{ ...axis, values: (_, splits) => splits.map(tick) }, { ...axis, size: 64 }],
    series: [{ label: "At", value: (_, at) => (at === null ? "–" : `${day.format(at * 1000)} ${clock.format(at * 1000)}`) }, ...series],
  };
}

function draw() {
  const chart = new uPlot(options(), told.data, figure);
  chart.root.setAttribute("aria-hidden", "true");
  return chart;
}

if (figure && told) {
  let chart = draw();
  const redraw = () => {
    chart.destroy();
    chart = draw();
  };
  // What a screen reader is told stays: the drawing with its words.
  figure.querySelector("[data-plain]").classList.add("visually-hidden");
  new ResizeObserver(() => chart.setSize({ width: figure.clientWidth, height: HEIGHT })).observe(figure);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}
