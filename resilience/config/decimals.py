"""Which decimals are at most, or below, a bound: as a regular expression, for what JSON has no numbers for (``99.9%``).

What is matched are digits, and maybe a point and more digits; leading zeros too. The expressions are those that Python
and ECMAScript (so JSON Schema) read alike.
"""

from __future__ import annotations

from decimal import Decimal

__all__ = ["at_most", "below"]

_REST = r"(\.[0-9]+)?"


def at_most(bound: Decimal) -> str:
    """Matches what is not above the bound, which must not be negative."""
    return _up_to(bound, itself=True)


def below(bound: Decimal) -> str:
    """Matches what is smaller than the bound, which must be above zero."""
    return _up_to(bound, itself=False)


def _up_to(bound: Decimal, *, itself: bool) -> str:
    whole, _, fraction = f"{bound:f}".partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    fewer = len(whole) - 1
    ways = [f"[0-9]{'' if fewer == 1 else f'{{1,{fewer}}}'}{_REST}"] if fewer else []
    for place, digit in enumerate(whole):  # as many, and the first that differs is smaller
        least = 1 if place == 0 < fewer else 0
        if int(digit) > least:
            ways.append(f"{whole[:place]}{_digit(least, int(digit) - 1)}{_more(fewer - place)}{_REST}")
    if fraction or itself:
        ways.append(f"{whole}({_point(fraction, itself)})?")
    return f"0*({'|'.join(ways)})"


def _point(fraction: str, itself: bool) -> str:
    """The point and what follows it, after the same whole number."""
    ways = []
    for place, digit in enumerate(fraction):
        if place:
            ways.append(fraction[:place])
        if digit != "0":
            ways.append(f"{fraction[:place]}{_digit(0, int(digit) - 1)}[0-9]*")
    if itself:
        ways.append(f"{fraction}0*" if fraction else "0+")
    return rf"\.({'|'.join(ways)})" if len(ways) > 1 else rf"\.{ways[0]}"


def _digit(least: int, most: int) -> str:
    return str(least) if least == most else f"[{least}-{most}]"


def _more(count: int) -> str:
    return "" if count == 0 else "[0-9]" if count == 1 else f"[0-9]{{{count}}}"
