"""The dashboard: what happened to calls, kept for a while, searched, and explained.

Spans come from the same process (`local`) or over OTLP/HTTP from others (`ingest`) as rows (`rows`), lie as whole
traces in a bounded ring (`store`), on request also in a file (`sqlite`), and are asked by `query` and `analysis`. None
of these knows the web server.
"""
