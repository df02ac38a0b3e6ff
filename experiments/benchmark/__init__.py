"""Speed and memory, each figure beside what it is compared with in the same run."""

from __future__ import annotations

__all__: list[str] = []
