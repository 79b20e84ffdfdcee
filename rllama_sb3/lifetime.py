"""How processes end with the one that started them, so that none is left when that is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Final

_NAME: Final = "rllama_sb3.end_with_parent"


def end_with_parent() -> None:
    """Lets this process end when the one that started it does, whatever it is in the middle of.

    For processes that :mod:`multiprocessing` starts; does nothing in any other.
    """
    known = {thread.name for thread in threading.enumerate()}
    if multiprocessing.parent_process() is not None and _NAME not in known:
        threading.Thread(target=_end_after_parent, name=_NAME, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # It was asked for before.
    parent.join()
    os._exit(1)
