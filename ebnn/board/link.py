"""What every way to a board has in common: bytes come, until they don't."""

from __future__ import annotations

from typing import Any, Protocol

from ebnn.sim.errors import UserError


class LinkFailed(UserError):
    """The way to the board is not there, or broke."""


class Link(Protocol):
    """A board whose harness runs, or will as soon as it is read from."""

    facts: dict[str, Any]
    """For the record: `via`, and what is at the other end."""

    def read(self) -> bytes | None:
        """What came; empty where nothing did for a moment, None where nothing ever will.

        Raises:
            LinkFailed: the connection broke.
        """

    def close(self) -> None:
        """Let go of everything, whatever state it is in."""
