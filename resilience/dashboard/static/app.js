// The page's frame: addresses, the live stream, colours, keys. Each page is a module with `open(root, params)`,
// which returns what to do with a snapshot, with a new trace, and when it is left.
import { route } from "./api.js";
import { h, settled, show } from "./dom.js";

const PAGES = ["overview", "traces", "trace", "latency", "errors", "compare"];
const module = (name) => import(`./${name}.js`).catch(() => { throw new Error("The server is away, or has another version by now: load this page again."); });
const main = document.getElementById("main");
const live = document.getElementById("live");
let page = null, snapshot = null, renders = 0;

async function render() {
  page?.close?.();
  page = null;
  const turn = ++renders, root = h("div", { class: "page" });
  const [name, id] = route(location.pathname);
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.page === (name === "trace" ? "traces" : name)) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  // Whoever goes on before a page has its data sees the later page: the earlier one may neither show itself nor move.
  const mine = (path, options) => { if (turn === renders) go(path, options); };
  try {
    const opened = await (await module(name)).open(root, new URLSearchParams(location.search), { id, go: mine, snapshot });
    if (turn !== renders) return opened?.close?.();
    main.replaceChildren(root);
    page = opened;
    if (snapshot) page?.snapshot?.(snapshot);
  } catch (error) {
    if (turn !== renders) return;
    document.title = "Not shown · resilience";
    show(root, h("div", { class: "page-head" }, h("h1", {}, "This cannot be shown")), h("p", { class: "empty", role: "alert" }, error.message));
    main.replaceChildren(root);
  }
}

/** Go to an address of this page. With `replace`, the present one is not kept in the history. */
export function go(path, { replace = false, quiet = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  if (!quiet) render().then(() => { main.focus({ preventScroll: true }); scrollTo(0, 0); });
}

addEventListener("popstate", render);
document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[data-link]");
  if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(anchor.getAttribute("href"));
});

// -- live ------------------------------------------------------------------------------------------------------

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  settled().then(() => { drawing = false; page?.snapshot?.(snapshot); });
}

const say = (state, text) => { if (live.dataset.state !== state) { live.dataset.state = state; live.textContent = text; } };
function connect() {
  const stream = new EventSource("/api/stream");
  stream.addEventListener("open", () => say("on", "live"));
  stream.addEventListener("error", () => say("off", "reconnecting"));
  stream.addEventListener("snapshot", (event) => { snapshot = JSON.parse(event.data); draw(); });
  stream.addEventListener("trace", (event) => page?.trace?.(JSON.parse(event.data)));
  stream.addEventListener("skipped", (event) => page?.skipped?.(JSON.parse(event.data).count));
  addEventListener("pagehide", () => stream.close());
}

// -- colours ---------------------------------------------------------------------------------------------------

const themes = { auto: ["◐", "follow the system"], dark: ["●", "dark"], light: ["○", "light"] };
const button = document.getElementById("theme");
function dress(theme) {
  document.documentElement.dataset.theme = theme;
  button.textContent = themes[theme][0];
  button.setAttribute("aria-label", `Colours: ${themes[theme][1]}`);
  try { localStorage.setItem("theme", theme); } catch { /* a browser that keeps nothing */ }
  page?.redraw?.();
}
function undress() { try { return themes[localStorage.getItem("theme")] ? localStorage.getItem("theme") : "auto"; } catch { return "auto"; } }
const turn = () => { const names = Object.keys(themes); dress(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]); };
button.addEventListener("click", turn);

// -- keys ------------------------------------------------------------------------------------------------------

const KEYS = [
  ["g o", "overview"], ["g t", "traces"], ["g l", "latency"], ["g e", "errors"], ["/", "filter"], ["j k", "next, previous row or span"],
  ["Enter", "open"], ["p", "pause or follow the live tail"], ["c", "compare this trace with another"], ["d", "colours"], ["Esc", "back, close"], ["?", "this help"],
];
const dialog = document.getElementById("keys");
function help() {
  show(dialog, h("h2", { id: "keys-title" }, "Keys"),
    h("dl", { class: "pairs" }, KEYS.flatMap(([keys, what]) => [h("dt", {}, keys.split(" ").map((key) => [h("kbd", {}, key), " "])), h("dd", {}, what)])),
    h("form", { method: "dialog" }, h("button", { autofocus: true }, "Close")));
  dialog.showModal();
}
document.getElementById("help").addEventListener("click", help);
let before = "";
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  const typing = event.target.matches("input, textarea, select");
  if (typing) { if (event.key === "Escape") event.target.blur(); return; }
  const target = before === "g" ? { o: "/", t: "/traces", l: "/latency", e: "/errors" }[event.key] : undefined;
  before = event.key;
  if (target) { go(target); return; }
  if (event.key === "?") help();
  else if (event.key === "d") turn();
  else if (event.key === "/") { const field = main.querySelector("input[type=search]"); if (field) field.focus(); else go("/traces"); event.preventDefault(); }
  else if (event.key === "Escape" && route(location.pathname)[1]) history.back();
  else page?.key?.(event);
});

dress(undress());
// The other pages are loaded when this one is there: to go from one to another then takes no longer.
render().then(() => (self.requestIdleCallback ?? setTimeout)(() => PAGES.forEach((name) => module(name).catch(() => {}))));
connect();
