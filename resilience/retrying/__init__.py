"""Retrying: the decisions after a failure (`story`), the waits, the budget of what may be sent again."""
