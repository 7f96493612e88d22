"""What the linter may know about the pipelines of an ``exchanges.yaml``: who uses them, for what, within which limits.

Read from the nodes of a file that was found sound; nothing is opened.
"""

from __future__ import annotations

from importlib import import_module

from resilience.config import Node, Problems
from resilience.lint import Connections, Facts, Quota

from .config import ADAPTERS, read_resources

__all__ = ["facts", "routes"]


def facts(root: Node) -> dict[str, Facts]:
    """By the name of each pipeline that an exchange uses; of several exchanges, what any of them says."""
    nodes, found = root.get("resources"), {}
    for name, settings in read_resources(root, Problems()).items():
        node = None if nodes is None else nodes.get(name)
        found[name] = Connections(settings.limit, settings.limit_per_host, settings.keepalive, node)
    known: dict[str, Facts] = {}
    for exchange, by_pipeline in routes(root).items():
        adapter = _text(root, exchange, "adapter")
        module = import_module(ADAPTERS[adapter][2])
        ops = {endpoint.op.name: endpoint.op for endpoint in module.ENDPOINTS.values()}
        quota = Quota(module.IP_LIMIT, "ip", f"{exchange}, for each IP address,")
        for pipeline, operations in by_pipeline.items():
            before = known.get(pipeline, Facts())
            known[pipeline] = Facts(
                tuple(dict.fromkeys((*before.ops, *(ops[name] for name in operations)))),
                tuple(dict.fromkeys((*before.names, *module.OPERATIONS))),
                tuple(dict.fromkeys((*before.quotas, quota))),
                found,
                f"the exchange {exchange}",
            )
    return known


def routes(root: Node) -> dict[str, dict[str, list[str]]]:
    """By exchange, and then by pipeline, the operations that it guards."""
    found: dict[str, dict[str, list[str]]] = {}
    exchanges = root.get("exchanges")
    for name, node in () if exchanges is None else exchanges.items():
        operations = import_module(ADAPTERS[_text(root, name, "adapter")][2]).OPERATIONS
        default, special = node.get("pipeline"), node.get("operations")
        by_pipeline: dict[str, list[str]] = {} if default is None else {default.text: []}
        for operation in operations:
            route = None if special is None else special.get(operation)
            pipeline = default if route is None else route.get("pipeline")
            if pipeline is not None:
                by_pipeline.setdefault(pipeline.text, []).append(operation)
        found[name] = by_pipeline
    return found


def _text(root: Node, exchange: str, key: str) -> str:
    node: Node | None = root
    for name in ("exchanges", exchange, key):
        node = None if node is None else node.get(name)
    return "" if node is None else node.text
