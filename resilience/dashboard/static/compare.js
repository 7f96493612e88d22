// Two calls side by side: where the time went in each, and which attributes differ.
import { empty, h, link, panel, show } from "./dom.js";
import { SEGMENTS, ms, percent } from "./format.js";
import { question } from "./api.js";

export async function open(root, params, { go }) {
  document.title = "Compare · resilience";
  const a = params.get("a") ?? "", b = params.get("b") ?? "";
  const field = (name, value) => h("input", { type: "text", class: "mono", name, "aria-label": `Trace ${name}`, placeholder: `trace id ${name}`, value });
  const form = h("form", { class: "filter", onsubmit: (event) => { event.preventDefault(); const chosen = new FormData(event.target); go(`/compare?${new URLSearchParams({ a: chosen.get("a"), b: chosen.get("b") })}`); } }, h("div", { class: "grow" }, field("a", a)), h("div", { class: "grow" }, field("b", b)), h("button", {}, "Compare"));
  const head = h("div", { class: "page-head" }, h("h1", {}, "Compare"), h("p", {}, "two kept calls"));
  if (!a || !b) {
    const { traces } = await question("compare", params);
    show(root, head, form, panel("Recent calls", a ? "choose the other one" : "choose the first", traces.length ? h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Operation", "Outcome", "Took", "Why"].map((name, i) => h("th", { scope: "col", class: i === 2 ? "num" : null }, name)))), h("tbody", {}, traces.filter((one) => one.trace_id !== a).map((one) => h("tr", {}, h("td", {}, link(a ? `/compare?a=${a}&b=${one.trace_id}` : `/compare?a=${one.trace_id}`, one.op)), h("td", {}, one.outcome), h("td", { class: "num" }, ms(one.duration_ms)), h("td", { class: "wide" }, one.why || one.reason)))))) : empty("No call was kept yet.")));
    return {};
  }
  const found = await question("compare", params);
  const side = (name, one) => panel(`${name}: ${one.summary.op}`, `${one.summary.outcome}, ${ms(one.duration_ms)}`, h("div", { class: "body grid" }, one.why ? h("p", {}, one.why) : null, h("p", { class: "actions-line" }, link(`/traces/${one.trace_id}`, "Open"))));
  show(root, head, form, h("div", { class: "grid columns" }, side("A", found.a), side("B", found.b)),
    panel("Where the time went", null, h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Part", "A", "B"].map((name, i) => h("th", { scope: "col", class: i ? "num" : null }, name)))), h("tbody", {}, found.shares.map((one) => h("tr", {}, h("td", {}, SEGMENTS[one.name] ?? one.name), h("td", { class: "num" }, percent(one.a, 0)), h("td", { class: "num" }, percent(one.b, 0)))))))),
    panel("What differs", `${found.differences.length} attributes`, h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Attribute", "A", "B"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, found.differences.map((one) => h("tr", {}, h("td", {}, one.key), h("td", { class: "mono" }, String(one.a ?? "–")), h("td", { class: "mono" }, String(one.b ?? "–")))))))));
  return {};
}
