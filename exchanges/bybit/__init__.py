"""Bybit V5: a table of endpoints, a table of codes, and the adapter that joins them."""
