"""`--data SPEC`: from what a user typed to candles."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from lightning_models.candles import Candles, read_candles, symbol_of_path
from lightning_models.candles.candles import Market, check_market
from lightning_models.errors import ConfigError

__all__ = ["expand_specs", "read_sources"]


def expand_specs(specs: Sequence[str]) -> list[tuple[str, Path]]:
    """Return symbol and file of each specification.

    Parameters
    ----------
    specs
        Files, globs, or ``SYMBOL=file``. A file's symbol is its stem with the last ``_`` as
        ``/``.

    Raises
    ------
    ConfigError
        If a file does not exist, a glob matches none, or two files have one symbol.
    """
    found: list[tuple[str, Path]] = []
    for spec in specs:
        symbol, separator, rest = spec.partition("=")
        if separator and not Path(spec).exists():
            if not symbol or not rest:
                raise ConfigError(f"unreadable --data {spec!r}: write it as BTC/USDT=btc.parquet")
            found.append((symbol, Path(rest).expanduser()))
            continue
        found += [(symbol_of_path(path), path) for path in _files(spec)]
    symbols = [symbol for symbol, _ in found]
    for symbol, path in found:
        if symbols.count(symbol) > 1:
            others = ", ".join(str(each) for name, each in found if name == symbol)
            raise ConfigError(
                f"{symbol} was given more than once ({others}): tell the files apart with "
                f"--data OTHER={path}"
            )
    return found


def read_sources(
    specs: Sequence[str], *, timeframe: str | None = None, market: str = "continuous"
) -> list[Candles]:
    """Read the candles of each specification.

    Parameters
    ----------
    specs
        As `expand_specs` takes them.
    timeframe
        To resample to; by default the files' own.
    market
        ``continuous`` or ``sessions``.

    Raises
    ------
    ConfigError, CandleError
        As `expand_specs` and `read_candles` do.
    """
    checked: Market = check_market(market)
    return [
        read_candles(path, symbol=symbol, timeframe=timeframe, market=checked)
        for symbol, path in expand_specs(specs)
    ]


def _files(spec: str) -> list[Path]:
    path = Path(spec).expanduser()
    if path.exists() or not glob.has_magic(spec):
        return [path]
    matched = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 - of any root
    if not matched:
        raise ConfigError(f"--data {spec!r} matches no file in {Path.cwd()}")
    return matched
