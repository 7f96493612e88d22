"""How bytes travel. The only place that knows aiohttp, so nothing is imported here: take `exchanges.transport.rest`."""
