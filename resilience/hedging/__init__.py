"""Hedging: how long to wait for the first request, and a race between requests of which one wins."""
