"""Rate limits: what may be sent when (`limiter`, told the time), and whose turn it is (`limits`, `line`, `turns`)."""
