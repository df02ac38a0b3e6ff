"""How a page writes a figure: with its digits, its sign and its unit."""

from __future__ import annotations

__all__ = ["NOTHING", "hundredfold", "number", "percent", "span"]

NOTHING = "\N{EN DASH}"
"""What a table shows where there is no figure."""


def hundredfold(fraction: float | None) -> float | None:
    """Return a fraction as percent.

    Examples
    --------
    >>> hundredfold(0.25), hundredfold(None)
    (25.0, None)
    """
    return None if fraction is None else 100.0 * fraction


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Return a figure without a unit.

    Examples
    --------
    >>> number(12345.678), number(1.5, 1, signed=True)
    ('12,345.68', '+1.5')
    """
    return NOTHING if value is None else f"{value:{'+' if signed else ''},.{digits}f}"


def percent(value: float | None, *, signed: bool = False) -> str:
    """Return percent to one digit.

    Examples
    --------
    >>> percent(12.34, signed=True)
    '+12.3%'
    """
    return NOTHING if value is None else f"{value:{'+' if signed else ''},.1f}%"


def span(low: float | None, high: float | None, unit: str = "", digits: int = 2) -> str:
    """Return an interval, or nothing where an end of it is unknown.

    Examples
    --------
    >>> span(-1.0, 2.5, "%", 1)
    '-1.0% to 2.5%'
    """
    if low is None or high is None:
        return NOTHING
    return f"{low:,.{digits}f}{unit} to {high:,.{digits}f}{unit}"
