"""Presets as package data; read through `importlib.resources`."""

from __future__ import annotations

__all__: list[str] = []
