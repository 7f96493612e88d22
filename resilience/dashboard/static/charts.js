// Pictures from numbers. Each has a text beside it that says the same, for those who do not see it.
import { h, s } from "./dom.js";
import { SEGMENTS, clock, ms, percent } from "./format.js";

/** A line over the last values; `bad` is drawn over it in the colour of failure. */
export function spark(values, bad, label) {
  const width = 120, height = 28, top = Math.max(1e-9, ...values);
  const at = (list) => list.map((value, i) => `${(i / Math.max(1, list.length - 1)) * width},${height - 2 - (value / top) * (height - 4)}`);
  const points = at(values), low = at(bad ?? []);
  const spikes = (bad ?? []).map((value, i) => value > 0 && `M${low[Math.max(0, i - 1)]} L${low[i]} L${low[Math.min(low.length - 1, i + 1)]}`).filter(Boolean);
  return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("path", { class: "fill", d: `M0,${height} L${points.join(" L")} L${width},${height} Z` }),
    s("path", { d: `M${points.join(" L")}` }),
    spikes.length > 0 && s("path", { class: "bad", d: spikes.join(" ") }));
}

/** How a breaker stood over the last ten minutes. */
export function ribbon(history, state, now, span = 600000) {
  const begin = now - span;
  const changes = history.filter((change) => change.at > begin);
  let from = begin, current = changes[0]?.old ?? state;
  const parts = [];
  for (const change of [...changes, { at: now, new: state }]) {
    parts.push(s("rect", { x: ((from - begin) / span) * 100, width: Math.max(0.4, ((change.at - from) / span) * 100), y: 0, height: 10, "data-state": current }));
    from = change.at;
    current = change.new;
  }
  return s("svg", { class: "ribbon", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": `State over ten minutes: ${changes.length} changes, now ${state}` }, parts);
}

export function meter(share, label) {
  const value = Math.max(0, Math.min(1, share || 0));
  const bar = h("div", { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": value.toFixed(3), "data-tone": value >= 0.95 ? "bad" : value >= 0.75 ? "warn" : null }, h("i"));
  bar.firstChild.style.setProperty("width", `${value * 100}%`);
  return bar;
}

/** What each policy took of a call's time. */
export function shares(found) {
  const entries = Object.entries(found).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]);
  let x = 0;
  const rects = entries.map(([name, share]) => {
    const rect = s("rect", { x, y: 0, width: share * 100, height: 10, "data-seg": name });
    x += share * 100;
    return rect;
  });
  return h("div", { class: "grid" },
    s("svg", { class: "share-bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": entries.map(([name, share]) => `${SEGMENTS[name] ?? name} ${percent(share, 0)}`).join(", ") }, rects),
    h("ul", { class: "legend" }, entries.map(([name, share]) => h("li", {}, swatch(name), `${SEGMENTS[name] ?? name} ${percent(share, 0)}`))));
}
export const swatch = (name) => s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { width: 10, height: 10, rx: 2, "data-seg": name }));

/** Counts by time and duration on a canvas, with the exemplars as links above it. */
export function heatmap(data, open) {
  const canvas = h("canvas", { role: "img", "aria-label": `Calls by time and duration, ${data.t.length} columns; the table below says the same` });
  const columns = data.t.length, rows = data.ms.length;
  const most = Math.max(1, ...data.counts.flat());
  const draw = () => {
    const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    pen.fillStyle = style.getPropertyValue("--raised");
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = style.getPropertyValue("--accent");
    for (let x = 0; x < columns; x++) for (let y = 0; y < rows; y++) {
      const count = data.counts[x][y];
      if (!count) continue;
      pen.globalAlpha = 0.15 + 0.85 * (Math.log1p(count) / Math.log1p(most));
      pen.fillRect((x / columns) * width, height - ((y + 1) / rows) * height, width / columns - 1, height / rows - 1);
    }
    pen.globalAlpha = 1;
  };
  const row = (value) => { const found = data.ms.findIndex((edge) => value <= edge); return found < 0 ? rows - 1 : found; };
  const x = (at) => { const first = data.t[0], last = data.t[columns - 1]; return last > first ? ((at - first) / (last - first)) * (100 - 100 / columns) + 50 / columns : 50; };
  const y = (value) => 100 - ((row(value) + 0.5) / rows) * 100;
  const line = (values) => { const points = values.map((value, i) => value === null ? null : `${((i + 0.5) / columns) * 100},${y(value)}`).filter(Boolean); return points.length > 1 ? `M${points.join(" L")}` : ""; };
  const lines = s("svg", { class: "dots", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, s("path", { d: line(data.p50) }), s("path", { class: "p99", d: line(data.p99) }));
  const dots = s("svg", { class: "dots", role: "group", "aria-label": "Exemplars: each opens its trace" },
    data.dots.map((dot) => s("a", { href: `/traces/${dot.trace_id}`, "data-link": true, "data-tone": dot.outcome === "ok" ? null : "bad", "aria-label": `${ms(dot.ms)}, ${dot.outcome}` },
      s("circle", { cx: `${x(dot.at)}%`, cy: `${y(dot.ms)}%`, r: 5 }))));
  const low = Math.log(data.ms[0] ** 2 / data.ms[1]), high = Math.log(data.ms[rows - 1]);
  const ticks = [0.1, 1, 10, 100, 1000, 10000, 100000].map((value) => [value, 100 - ((Math.log(value) - low) / (high - low)) * 100]).filter(([, place]) => place > 3 && place < 99);
  const scale = s("svg", { class: "dots", "aria-hidden": "true" }, ticks.map(([value, place]) => [s("line", { x1: 0, x2: "100%", y1: `${place}%`, y2: `${place}%` }), s("text", { x: 6, y: `${place}%`, dy: -4 }, ms(value))]));
  const figure = h("div", { class: "heat" }, canvas, scale, lines, dots);
  new ResizeObserver(draw).observe(canvas);
  open?.(draw);
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, clock(data.t[Math.round(part * (columns - 1))])));
  return h("div", {}, figure, h("div", { class: "times", "aria-hidden": "true" }, times));
}
