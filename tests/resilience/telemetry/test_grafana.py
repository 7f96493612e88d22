"""docs/grafana: the dashboard is what its builder makes, and asks only for what a real run exposes."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from exchanges import ExchangeManager
from exchanges.bybit.simulator import Simulator
from resilience import Chaos, Op, Pipeline, Retry, Timeout
from resilience.telemetry import Metrics
from resilience.telemetry.catalogue import CATALOGUE, prometheus_label, prometheus_name
from resilience.telemetry.prometheus import render
from resilience.testing import Script, never

FOLDER = Path(__file__).parents[3] / "docs" / "grafana"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = yaml.safe_load((FOLDER / "rules.yaml").read_text())
LABELS = {prometheus_label(label) for spec in CATALOGUE.values() for label in spec.labels} | {"le"}
BY_NAME = {prometheus_name(spec): spec for spec in CATALOGUE.values()}


def panels() -> Iterator[tuple[str, str]]:
    """(title, expression) of every query."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]


PANELS = dict(panels())
EXPRESSIONS = PANELS | {
    rule.get("alert") or rule["record"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]
}


def plain(expr: str) -> str:
    """The expression as Grafana sends it, with everything chosen."""
    expr = re.sub(r"\$(pipeline|op)\b", ".*", expr)
    expr = expr.replace("$__rate_interval", "5m")
    assert "$" not in expr, expr
    return expr


def names(expr: str) -> set[str]:
    """The metrics that an expression reads; names that rules record aside."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    return {name for name in re.findall(r"(?<![\w:])(?:resilience|http_client)_\w+", bare) if name not in LABELS}


async def _run() -> str:
    metrics = Metrics()
    own = Pipeline(
        Retry(attempts=2, wait=0), Timeout(0.01), Chaos(rate=0, latency=1), name="own", observers=(metrics,)
    )  # fmt: skip
    for step in ConnectionResetError("Cannot write to closing transport"), never:
        await own.run(Script(step, 1), op=Op("read", idempotent=True))
    await asyncio.gather(own.run(Script(ValueError()), op=Op("read")), return_exceptions=True)
    faults = {"version": 1, "rules": [{"fault": "reset_after_read", "nth": [1]}]}
    async with (
        Simulator(faults=faults) as simulator,
        ExchangeManager.load(base_url=simulator.url, observers=[metrics]) as manager,
    ):
        for _ in range(3):
            await manager.fetch_ticker("bybit", "BTCUSDT")
        return render(metrics)


@pytest.fixture(scope="module")
def exposition() -> str:
    """What a real run exposes: Bybit's adapter over real sockets, resets among them."""
    return asyncio.run(_run())


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus): RULES AND PANELS WERE NOT CHECKED")
    return found


def run(promtool: str, *arguments: str, stdin: str = "") -> None:
    """It ends well, or the test shows what it said."""
    done = subprocess.run([promtool, *arguments], input=stdin, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "lint" not in done.stderr


def test_the_dashboard_is_what_its_builder_makes() -> None:
    """Change the builder and run it; never the file."""
    spec = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.text() == (FOLDER / "dashboard.json").read_text()


def test_panels_do_not_overlap() -> None:
    """Each square of the grid belongs to one panel, and none is outside."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        squares = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not squares & taken, panel["title"]
        assert max(x for x, _ in squares) < 24, panel["title"]
        taken |= squares
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("expr", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_expression_names_metrics_and_labels_that_exist(expr: str) -> None:
    """By the catalogue: counters with `_total`, histograms by their parts, labels of those very metrics."""
    labels: set[str] = {"le"}
    for name in names(expr):
        family = re.sub(r"_(?:total|bucket|sum|count)$", "", name)
        spec = BY_NAME.get(family) or BY_NAME[name]
        assert name.endswith("_total") == (spec.kind == "counter"), name
        assert name.endswith(("_bucket", "_sum", "_count")) == (spec.kind == "histogram") or name in BY_NAME, name
        labels |= {prometheus_label(label) for label in spec.labels}
    if names(expr):
        used = set(re.findall(r"\b\w+\b", re.sub(r'"[^"]*"', "", expr))) & LABELS
        assert used <= labels, used - labels


def test_a_real_run_exposes_every_metric_that_is_asked_for(exposition: str) -> None:
    """No panel is about something that is never there."""
    exposed = {line.split("{")[0].split(" ")[0] for line in exposition.splitlines() if not line.startswith("#")}
    asked = set().union(*map(names, EXPRESSIONS.values()))
    assert len(asked) > 25
    assert asked - exposed == set()


def test_promtool_accepts_a_real_exposition(promtool: str, exposition: str) -> None:
    """It parses it and lints the names."""
    run(promtool, "check", "metrics", stdin=exposition)


def test_promtool_accepts_the_rules_and_they_do_what_they_should(promtool: str) -> None:
    """Each alert rings where it must and nowhere else: rules_test.yaml."""
    run(promtool, "check", "rules", str(FOLDER / "rules.yaml"))
    run(promtool, "test", "rules", str(FOLDER / "rules_test.yaml"))


def test_every_alert_has_a_test() -> None:
    """Of an alert that no test has heard nobody knows whether it can ring."""
    tested = (FOLDER / "rules_test.yaml").read_text()
    alerts = [rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
    assert [alert for alert in alerts if f'"{alert}"' not in tested and f"alertname: {alert}" not in tested] == []


def test_every_panel_finds_something_in_a_real_run(promtool: str, exposition: str, tmp_path: Path) -> None:
    """Prometheus itself evaluates every query, over series with the names and labels of a real run."""
    counters = {f"{name}_total" for name, spec in BY_NAME.items() if spec.kind == "counter"}
    series = []
    for line in exposition.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            bare = name.split("{")[0]
            grows = bare in counters or bare.endswith(("_bucket", "_sum", "_count"))
            series.append({"series": name, "values": f"{value}+{value}x40" if grows else f"{value}x40"})
    checks = [
        {"expr": f"count({plain(expr)}) > bool 0", "eval_time": "9m", "exp_samples": [{"labels": "{}", "value": 1}]}
        for expr in PANELS.values()
    ]
    test = {"interval": "15s", "input_series": series, "promql_expr_test": checks}
    rules = [{"record": f"panel:{number}", "expr": plain(expr)} for number, expr in enumerate(PANELS.values())]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["panels.yaml"], "evaluation_interval": "15s", "tests": [test]})
    )
    run(promtool, "check", "rules", str(tmp_path / "panels.yaml"))
    run(promtool, "test", "rules", str(tmp_path / "test.yaml"))


def test_what_compose_mounts_is_there(promtool: str) -> None:
    """Every mounted file exists, every port is for this machine only, and Prometheus accepts its configuration."""
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert ":latest" not in service["image"], name
        assert re.search(r":v?\d+\.\d+", service["image"]), name
        for volume in service.get("volumes", ()):
            assert (FOLDER / volume.split(":")[0]).is_file(), volume
            assert volume.endswith(":ro")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
    run(promtool, "check", "config", "--syntax-only", str(FOLDER / "prometheus.yaml"))
    sources = yaml.safe_load((FOLDER / "source.yaml").read_text())["datasources"]
    assert {source["url"].split("//")[1].split(":")[0] for source in sources} <= set(compose["services"])
