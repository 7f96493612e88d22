"""Timing: timers that many calls share, measured latency, and the time that follows from it."""
