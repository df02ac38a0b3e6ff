"""`--set` of commands that have no configuration file."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["no_settings"]


def no_settings(command: str, settings: Sequence[str] | None) -> None:
    """Refuse ``--set`` where a command has nothing to set.

    Raises
    ------
    ConfigError
        If anything was given.
    """
    if settings:
        from lightning_models.errors import ConfigError  # its package takes a second

        raise ConfigError(f"{command} has no settings: leave out --set {settings[0]}")
