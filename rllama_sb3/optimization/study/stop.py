"""Stops a study for everybody who works on it, on whatever machine."""

from __future__ import annotations

from typing import Final

from optuna.study import Study

_STOP: Final = "rllama_sb3_stop"


def stop_study(study: Study, reason: str) -> None:
    """Tells every worker of a study, wherever it runs, to start no more trials."""
    study.set_user_attr(_STOP, reason)


def read_stop(study: Study, before: str | None = None) -> str | None:
    """Returns why a study was stopped, if it was.

    Args:
        study: The study.
        before: What this returned when the search that asks began. It does not stop that search,
            and stays there for those that it is to stop: no two trials give the same reason.
    """
    reason: str | None = study.user_attrs.get(_STOP)
    return None if reason == before else reason
