// What went wrong, by cause.
import { badge, empty, h, link, panel, show } from "./dom.js";
import { ago, count, term } from "./format.js";
import { spark } from "./charts.js";
import { question } from "./api.js";

export async function open(root) {
  document.title = "Errors · resilience";
  const body = h("div", { class: "flush scroll" });
  show(root, h("div", { class: "page-head" }, h("h1", {}, "Errors"), h("p", {}, "calls that failed, and attempts that did, whether a retry saved their call or not")), panel("Causes", "the last hour", body));
  const draw = async () => {
    const { groups } = await question("errors");
    show(body, groups.length ? h("table", {},
      h("thead", {}, h("tr", {}, ["Cause", "Of", "Operation", "Service", "Count", "First", "Last", "Last hour", "Example"].map((name, i) => h("th", { scope: "col", class: i === 4 ? "num" : null }, name)))),
      h("tbody", {}, groups.map((one) => h("tr", {}, h("td", {}, badge(one.error_type, one.what === "call" ? "bad" : "warn")), h("td", {}, one.what === "call" ? "calls" : "attempts"), h("td", {}, link(`/traces?q=${encodeURIComponent(`${term("op", one.op)} ${term("error", one.error_type)}`)}`, one.op)), h("td", {}, one.service), h("td", { class: "num" }, count(one.count)), h("td", {}, ago(one.first)), h("td", {}, ago(one.last)), h("td", {}, spark(one.spark, null, `${one.error_type} over the last hour`)), h("td", {}, link(`/traces/${one.example}`, "open")))))) : empty("Nothing went wrong that was kept."));
  };
  await draw();
  const timer = setInterval(() => draw().catch(() => {}), 5000);
  return { close: () => clearInterval(timer) };
}
