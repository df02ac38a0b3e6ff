"""`--data SPEC`: from what a user typed to candles."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from time import time_ns

from experiments.cli.console import note
from lightning_models.candles import Candles, iso_utc, read_candles, symbol_of_path
from lightning_models.candles.candles import Market, check_market
from lightning_models.errors import ConfigError, TooFewCandlesError

__all__ = ["closed_by_now", "expand_specs", "read_sources"]


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
        if not spec.strip():
            raise ConfigError("--data is empty: give a file, a 'quoted glob', or SYMBOL=file")
        files = _files(spec)
        symbol, separator, rest = spec.partition("=")
        if files or not separator:
            found += [(symbol_of_path(path), path) for path in files or [_missing(spec)]]
        elif not symbol.strip() or not rest.strip():
            raise ConfigError(f"unreadable --data {spec!r}: write it as BTC/USDT=btc.parquet")
        else:
            found.append((symbol.strip(), _one_file(rest, spec)))
    symbols = [symbol for symbol, _ in found]
    for symbol, path in found:
        if symbols.count(symbol) > 1:
            others = ", ".join(str(each) for name, each in found if name == symbol)
            raise ConfigError(
                f"{symbol} was given more than once ({others}): tell the files apart with "
                f"--data OTHER={path}"
            )
    return found


def closed_by_now(candles: Candles) -> Candles:
    """Return the candles that have closed by this machine's clock; a note names the others.

    An exchange's newest candle is still forming: trained or traded on, it would be one that
    never was.

    Raises
    ------
    TooFewCandlesError
        If none has closed.
    """
    now = time_ns() // 1_000_000
    known = candles.between(None, now - candles.period_ms + 1)
    if not len(known):
        raise TooFewCandlesError(
            f"no candle of {candles.symbol} has closed yet: the first one closes at "
            f"{iso_utc(int(candles.time[0]) + candles.period_ms)}. Give finished candles"
        )
    if len(known) < len(candles):
        note(
            f"note: {len(candles) - len(known)} of the candles of {candles.symbol} have not closed "
            "yet and are left out"
        )
    return known


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
    # A name that exists is a file, whatever brackets or signs are in it.
    path = Path(spec).expanduser()
    if path.exists():
        return [path]
    matched = glob.glob(str(path), recursive=True)  # noqa: PTH207 - of any root
    return sorted(Path(match) for match in matched if Path(match).is_file())


def _missing(spec: str) -> Path:
    # A plain name goes on to the reader, whose message says what it can read.
    if glob.has_magic(spec):
        raise ConfigError(
            f"--data {spec!r} matches no file in {Path.cwd()}: check the folder, and quote the "
            "pattern so that it arrives here as you wrote it"
        )
    return Path(spec).expanduser()


def _one_file(rest: str, spec: str) -> Path:
    files = _files(rest)
    if len(files) > 1:
        raise ConfigError(
            f"--data {spec!r} gives one symbol to {len(files)} files: name one of them, or leave "
            "the symbol out, and each is called by its file's name"
        )
    return files[0] if files else _missing(rest)
