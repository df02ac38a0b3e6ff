from typing import Any

from . import Order as Order

class BuyOrder(Order):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

class SellOrder(Order):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

def __getattr__(name: str) -> Any: ...
