"""What a process is told, as far as this package asks, to believe itself on another machine."""

from __future__ import annotations

from rllama_sb3.optimization.study import owner

OTHER_HOST = "elsewhere of-its-own"


def move_there() -> None:
    """Moves this process."""
    owner.this_machine = lambda: OTHER_HOST  # type: ignore[assignment]
