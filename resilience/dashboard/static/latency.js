// When did which calls take how long: a heat map with quantiles and exemplars.
import { empty, h, link, panel, show } from "./dom.js";
import { clock, ms, term } from "./format.js";
import { heatmap } from "./charts.js";
import { question } from "./api.js";

const SPANS = [["5 min", 300000], ["15 min", 900000], ["1 h", 3600000], ["6 h", 21600000]];

export async function open(root, params, { go, snapshot }) {
  document.title = "Latency · resilience";
  const op = params.get("op") ?? "", long = Number(params.get("span")) || SPANS[0][1];
  const to = (name, span) => go(`/latency?${new URLSearchParams({ op: name, span })}`);
  const names = [...new Set([op, ...(snapshot?.ops ?? []).map((one) => one.op)])].filter(Boolean).sort();
  const choice = h("select", { id: "op", "aria-label": "Operation", onchange: (event) => to(event.target.value, long) }, h("option", { value: "" }, "all operations"), names.map((name) => h("option", { value: name, selected: name === op }, name)));
  const body = h("div", { class: "body" });
  show(root, h("div", { class: "page-head" }, h("h1", {}, "Latency"), h("div", { class: "filter" }, choice, h("div", { class: "chips", role: "group", "aria-label": "Time span" }, SPANS.map(([name, span]) => h("button", { type: "button", "aria-pressed": String(span === long), onclick: () => to(op, span) }, name))))),
    panel("Calls by time and duration", "solid: the median; dashed: p99; dots open their trace", body));
  let redraw = null;
  const draw = async () => {
    const data = await question("latency", params);
    if (!data.counts.flat().some(Boolean)) return show(body, empty("No kept call in this time. Clean calls are kept in samples; the overview counts all of them."));
    show(body, heatmap(data, (again) => { redraw = again; }),
      h("details", {}, h("summary", {}, "The same as a table"), h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["From", "Calls", "p50", "p99"].map((name, i) => h("th", { scope: "col", class: i ? "num" : null }, name)))),
        h("tbody", {}, data.t.map((at, i) => [at, data.counts[i].reduce((a, b) => a + b, 0), data.p50[i], data.p99[i]]).filter(([, count]) => count).map(([at, count, p50, p99]) => h("tr", {}, h("td", {}, clock(at)), h("td", { class: "num" }, count), h("td", { class: "num" }, ms(p50)), h("td", { class: "num" }, ms(p99)))))))),
      h("p", { class: "actions-line" }, link(`/traces${op ? `?q=${encodeURIComponent(term("op", op))}` : ""}`, "The calls behind it")));
  };
  await draw();
  const timer = setInterval(() => draw().catch(() => {}), 5000);
  return { close: () => clearInterval(timer), redraw: () => redraw?.() };
}
