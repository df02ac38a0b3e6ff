"""Parameters of backtrader classes: a misspelt name is an error that names its neighbours."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lightning_models.spelling import nearest_names
from lstm_strategies.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CheckedParameters", "attach", "takes_params"]

T = TypeVar("T")


class CheckedParameters:
    """Refuse parameters that a backtrader class doesn't have.

    Name it **after** the backtrader base, because backtrader merges the lines of every base
    but the first: ``class RiskSizer(bt.Sizer, CheckedParameters)``. It holds for each subclass
    and wherever the class is made, so also inside ``cerebro.run()`` for what was handed to
    ``addstrategy``, ``optstrategy``, ``addanalyzer``, ``addsizer`` and ``addindicator``.

    Raises
    ------
    ParameterError
        At construction, if a keyword is neither one of the class's ``params`` nor one of its
        ``plotinfo`` nor named in its own ``__init__``.

    Examples
    --------
    >>> import backtrader as bt
    >>> class FixedFraction(bt.Sizer, CheckedParameters):
    ...     params = (("fraction", 0.1),)
    >>> FixedFraction(fracton=0.2)
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: FixedFraction has no parameter 'fracton': did you mean \
'fraction'?
    """

    @classmethod
    def doprenew(cls, *args: Any, **kwargs: Any) -> Any:
        """Check the keywords; backtrader's metaclass calls this before anything is made."""
        known = _keywords(cls)
        for name in kwargs:
            if name not in known:
                suggestion = nearest_names(name, (each for each in known if each[:1] != "_"))
                raise ParameterError(f"{cls.__name__} has no parameter {name!r}: {suggestion}")
        # A class attribute shadows the metaclass's method of that name, so hand over to it.
        metaclass: Any = type(cls)
        return metaclass.doprenew(cls, *args, **kwargs)


def attach(kind: type[T], *data: Any, **params: Any) -> T:
    """Return an indicator, observer or other backtrader object made inside another one.

    backtrader's metaclasses take data feeds and parameters that no ``__init__`` declares; this
    says so in one place and keeps the type.

    Parameters
    ----------
    kind
        The class to make.
    *data
        Data feeds or lines to work on.
    **params
        Its parameters.

    Examples
    --------
    >>> from lstm_strategies.commission import CryptoCommission
    >>> attach(CryptoCommission, taker_fee=0.001).p.taker_fee
    0.001
    """
    make = cast("Any", kind)
    return cast("T", make(*data, **params))


def takes_params(init: Callable[[Any], None]) -> Callable[..., None]:
    """Tell type checkers that an ``__init__(self)`` is called with the class's ``params``.

    backtrader takes them away before it calls ``__init__``, so the method must not declare
    them; without this, a type checker would refuse ``RiskSizer(risk=0.01)``.
    """
    return init


def _keywords(cls: Any) -> set[str]:
    known = set(cls.params._getkeys())
    # Lines objects also take their plotting options as keywords (subplot=False).
    plotinfo = getattr(cls, "plotinfo", None)
    if plotinfo is not None:
        known.update(plotinfo._getkeys())
    # A subclass may declare keywords of its own the ordinary way.
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            known.add(parameter.name)
    known.discard("self")
    return known
