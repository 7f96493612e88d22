"""What the linter may know about the pipelines of an ``exchanges.yaml``: who uses them, for what, within which limits.

Read from the nodes of a file that was found sound; nothing is opened.
"""

from __future__ import annotations

from importlib import import_module

from resilience.config import Node, Problems
from resilience.lint import Connections, Facts, Quota

from .config import ADAPTERS, read_exchanges, read_resources

__all__ = ["facts"]


def facts(root: Node) -> dict[str, Facts]:
    """By the name of each pipeline that an exchange uses, as the exchange has it, overrides and all.

    Where there are several exchanges, each has its own: ``bybit.market``.
    """
    nodes, connections = root.get("resources"), {}
    for name, settings in read_resources(root, Problems()).items():
        node = None if nodes is None else nodes.get(name)
        connections[name] = Connections(settings.limit, settings.limit_per_host, settings.keepalive, node)
    exchanges, guards = read_exchanges(root, Problems())
    known: dict[str, Facts] = {}
    for exchange, settings in exchanges.items():
        module = import_module(ADAPTERS[settings.adapter][2])
        ops = {endpoint.op.name: endpoint.op for endpoint in module.ENDPOINTS.values()}
        quota = Quota(module.IP_LIMIT, "ip", f"{exchange}, for each IP address,")
        guard = guards[exchange]
        for pipeline in dict.fromkeys((settings.pipeline, *guard.routes.values())):
            guarded = tuple(ops[name] for name, route in guard.routes.items() if route == pipeline)
            stack = guard.pipelines.get(pipeline)
            who = f"the exchange {exchange}"
            full = f"{exchange}.{pipeline}"
            key = pipeline if len(exchanges) == 1 else full
            known[key] = Facts(guarded, module.OPERATIONS, (quota,), connections, who, pipeline, full, stack)
    return known
