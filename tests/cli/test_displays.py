"""What is drawn in a terminal."""

from __future__ import annotations

import io
import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from rich.console import Console
from tiny import tiny_experiment

from rllama_sb3.analysis.comparison import compute_comparison
from rllama_sb3.analysis.runs import TestRun
from rllama_sb3.callbacks import Evaluation
from rllama_sb3.callbacks.progress import TrainingProgress
from rllama_sb3.cli.comparison_display import ComparisonDisplay
from rllama_sb3.cli.comparison_table import describe_winner, render_comparison
from rllama_sb3.cli.study_display import StudyDisplay, TrialRow, render_trials
from rllama_sb3.cli.training_display import TrainingDisplay, render_progress
from rllama_sb3.config import parse_experiment
from rllama_sb3.optimization import build_search_space
from rllama_sb3.optimization.study.attributes import EVALUATIONS
from rllama_sb3.optimization.study.owner import claim
from rllama_sb3.optimization.study.retries import fail_trial

CONFIG = parse_experiment(tiny_experiment(tuning={"n_trials": 30}))
SPACE = build_search_space(CONFIG.tuning.search_space, CONFIG.to_dict())
NAME = "algorithm.params.learning_rate"
SPACE_OF_RATE = CONFIG.tuning.search_space["algorithm"]["params"]


def make_console(*, terminal: bool = True, width: int = 120, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, height=height, highlight=False
    )


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_frame(console: Console, head: str) -> list[str]:
    """The lines of a table of trials as it was drawn last, below the line that starts so."""
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text_of(console))
    return [line.rstrip() for line in plain.rpartition(head)[2].splitlines()]


def make_evaluation(value: float) -> Evaluation:
    returns = np.array([value, value])
    return Evaluation(env_returns=returns, lengths=np.array([9, 9]), index=1, global_step=64)


def show_search(
    display: StudyDisplay,
    values: list[float],
    n_ended: int | None = None,
    further: dict[str, Any] | None = None,
) -> optuna.Study:
    """Plays a search: trials that end with these values, the last of them running still."""
    study = optuna.create_study(direction="maximize")
    params = {"algorithm": {"params": {**SPACE_OF_RATE, **(further or {})}}}
    space = build_search_space(params, CONFIG.to_dict())
    with display.shown(space):
        display.update(study)
        for i, value in enumerate(values):
            trial = study.ask()
            claim(trial, worker=1)
            space.suggest(trial)
            for step in (1, 2):
                trial.report(value * step / 2, step)
            display.update(study)
            if n_ended is None or i < n_ended:
                study.tell(trial, value)
                display.update(study)
    return study


def test_progress_has_speed_time_left_and_both_returns() -> None:
    progress = TrainingProgress(1_000, n_steps=250, seconds=0.5)
    progress.add_episode(env_return=-200.0, shaped_return=-150.5)
    line = render_progress(progress)
    assert line == "250/1,000 steps  500 steps/s  2s left  env return -200.0  shaped -150.5"


def test_progress_before_the_first_step_claims_nothing() -> None:
    line = render_progress(TrainingProgress(1_000))
    assert line == "0/1,000 steps  0 steps/s  – left  env return –  shaped –"


def test_a_training_has_a_bar_in_a_terminal() -> None:
    console = make_console()
    progress = TrainingProgress(1_000)
    display = TrainingDisplay(progress, console, 10, quiet=False)
    with display.shown():
        progress.n_steps = 500
        display.update(progress)
        display.show_evaluation(make_evaluation(3.0))
    text = text_of(console)
    assert "50%" in text
    assert "500/1,000 steps" in text
    assert "evaluation 1/10 at 64 steps: env return 3 ± 0" in text


def test_the_trials_are_a_table_in_a_terminal() -> None:
    console = make_console()
    display = StudyDisplay(console, CONFIG, quiet=False)
    show_search(display, [1.0, 5.0, 2.0], n_ended=2)
    last = text_of(console).rpartition("2/30 trials")[2]
    assert "best so far 5 (trial 1)" in last
    assert "complete ★" in last
    assert "learning_rate=" in last
    assert "left" in last


def test_a_running_trial_shows_its_worker_and_its_learning_curve() -> None:
    console = make_console()
    show_search(StudyDisplay(console, CONFIG, quiet=False), [1.0, 2.0], n_ended=1)
    last = text_of(console).rpartition("1/30 trials")[2]
    assert "1 running" in last
    # trial, state, worker, latest evaluation, curve
    assert re.search(r"\b1\s+running\s+1\s+2\s+▁█", last)


def test_a_long_table_keeps_the_best_trial_and_the_latest() -> None:
    console = make_console(height=14)
    show_search(StudyDisplay(console, CONFIG, quiet=False), [99.0, *range(1, 20)])
    lines = last_frame(console, "20/30 trials")
    shown = [line.split()[0] for line in lines if "complete" in line]
    assert shown == ["0", "15", "16", "17", "18", "19"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_what_a_trial_came_to_is_there_in_a_narrow_terminal_too(width: int) -> None:
    console = make_console(width=width)
    names = ("gamma", "gae_lambda", "ent_coef", "vf_coef", "clip_range", "max_grad_norm")
    many = {name: {"suggest": "float", "low": 0.1, "high": 1.0} for name in names}
    display = StudyDisplay(console, CONFIG, quiet=False)
    show_search(display, [1.0, 2.0], n_ended=1, further=many)
    lines = last_frame(console, "1/30 trials")
    assert any(re.search(r" 0 +complete ★ +1 +1 +▁█", line) for line in lines)
    assert any(re.search(r" 1 +running +1 +2 +▁█", line) for line in lines)
    assert max(map(len, lines)) <= width
    assert any("values" in line for line in lines) == (width >= 80)
    assert any(line.endswith("…") for line in lines) == (width >= 80)


def test_everyone_who_runs_is_shown_before_what_has_ended() -> None:
    console = make_console(height=20)
    study = optuna.create_study(direction="maximize")
    display = StudyDisplay(console, CONFIG, quiet=False)
    with display.shown(SPACE):
        for value in (9.0, 1.0, 2.0):
            study.tell(study.ask(), value)
        for worker in range(11):
            claim(study.ask(), worker)
        display.update(study)
    lines = last_frame(console, "3/30 trials")
    assert [line.split()[0] for line in lines if "complete" in line] == ["0"]
    assert [line.split()[2] for line in lines if "running" in line][1:] == [
        str(worker) for worker in range(11)
    ]


def test_a_frame_leaves_the_cursor_on_an_empty_line() -> None:
    console = make_console()
    show_search(StudyDisplay(console, CONFIG, quiet=False), [1.0])
    assert last_frame(console, "1/30 trials")[-1] == ""


def test_before_the_first_trial_workers_are_starting() -> None:
    console = make_console()
    show_search(StudyDisplay(console, CONFIG, quiet=False), [])
    assert "0/30 trials  workers are starting" in text_of(console)


def test_nothing_is_drawn_of_a_search_that_was_never_looked_at() -> None:
    console = make_console()
    with StudyDisplay(console, CONFIG, quiet=False).shown(SPACE):
        pass
    assert text_of(console) == ""


def test_a_trial_that_failed_says_why_and_one_that_was_interrupted_is_no_failure() -> None:
    console = make_console(terminal=False)
    study = optuna.create_study(direction="maximize")
    display = StudyDisplay(console, CONFIG, quiet=False)
    failed, interrupted = study.ask(), study.ask()
    with display.shown(SPACE):
        display.update(study)
        fail_trial(study, study.trials[failed.number], "took longer than 9 seconds")
        fail_trial(study, study.trials[interrupted.number], "interrupted", interrupted=True)
        display.update(study)
    first, second = text_of(console).splitlines()
    assert re.match(r"trial 0 \(1/30\)  fail .*\(took longer than 9 seconds\)", first)
    assert second.startswith("trial 1 (1/30)  interrupted")
    assert "(" not in second.partition(")")[2]


def test_of_several_objectives_the_curve_is_that_of_the_env_return() -> None:
    console = make_console()
    study = optuna.create_study(directions=["maximize", "maximize"])
    display = StudyDisplay(console, CONFIG, quiet=False)
    with display.shown(SPACE):
        trial = study.ask()
        claim(trial, worker=0)
        trial.set_user_attr(EVALUATIONS, [[[64, 1.0], [128, 3.0]]])
        display.update(study)
    lines = last_frame(console, "0/30 trials")
    assert any(re.search(r" 0 +running +0 +3 +▁█", line) for line in lines)


def test_a_trial_that_has_ended_is_described_once(monkeypatch: pytest.MonkeyPatch) -> None:
    described = []

    def describe(self: StudyDisplay, trial: optuna.trial.FrozenTrial) -> str:
        described.extend([trial.number] if trial.state.is_finished() else [])
        return "its values"

    monkeypatch.setattr(StudyDisplay, "_describe", describe)
    console = make_console()
    show_search(StudyDisplay(console, CONFIG, quiet=False), [1.0, 3.0, 2.0])
    assert described == [0, 1, 2]
    # But which one is the best may change.
    assert text_of(console).rpartition("3/30 trials")[2].count("★") == 1


def test_without_a_terminal_each_trial_is_a_line() -> None:
    console = make_console(terminal=False)
    show_search(StudyDisplay(console, CONFIG, quiet=False), [1.0, 5.0])
    first, second = text_of(console).splitlines()
    assert first.startswith("trial 0 (1/30)  complete  env return 1  best 1 (0)")
    assert second.startswith("trial 1 (2/30)  complete  env return 5  best 5 (1)")


def test_quiet_shows_nothing() -> None:
    for terminal in (False, True):
        console = make_console(terminal=terminal)
        show_search(StudyDisplay(console, CONFIG, quiet=True), [1.0])
        TrainingDisplay(TrainingProgress(1), console, 1, quiet=True).show_evaluation(
            make_evaluation(1.0)
        )
        assert text_of(console) == ""


def test_a_trial_that_diverged_is_shown_as_such_and_without_what_the_sampler_was_told() -> None:
    console = make_console(terminal=False)
    study = optuna.create_study(direction="maximize")
    display = StudyDisplay(console, CONFIG, quiet=False)
    with display.shown(SPACE):
        display.update(study)
        trial = study.ask()
        trial.set_user_attr("diverged", True)
        study.tell(trial, -12345.0)
        display.update(study)
    assert "diverged  env return –  best –" in text_of(console)
    assert "12345" not in text_of(console)


def test_a_trial_without_shaping_is_shown_as_such() -> None:
    console = make_console(terminal=False)
    space = build_search_space(
        {
            "reward_shaping": {
                "upright": {
                    "weight_schedule": {
                        "initial_weight": {"suggest": "float", "low": 1.0, "high": 9.0}
                    }
                }
            },
            **CONFIG.tuning.search_space,
        },
        CONFIG.to_dict(),
    )
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({NAME: 0.001}, user_attrs={"origin": "shaping off"})
    display = StudyDisplay(console, CONFIG, quiet=False)
    with display.shown(space):
        trial = study.ask()
        space.suggest(trial)
        display.update(study)
        study.tell(trial, 1.0)
        display.update(study)
    assert "shaping off learning_rate=0.001" in text_of(console)
    assert "initial_weight" not in text_of(console)


def test_values_are_shown_as_they_are() -> None:
    console = make_console()
    console.print(render_trials([TrialRow(0, "fail", None, "layers=[64, 64]")]))
    assert "layers=[64, 64]" in text_of(console)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_comparison_shows_how_far_it_is(terminal: bool) -> None:
    console = make_console(terminal=terminal)
    display = ComparisonDisplay(console, n_runs=3)
    with display.shown():
        display.show_result(TestRun("old", 1, "k", 1.0, was_known=True))
        display.show_result(TestRun("new", 2, "k", 2.0))
    text = text_of(console)
    assert "old" not in text
    assert ("2/3" if terminal else "test run 2/3: new, seed 2, env return: 2") in text


def test_the_table_of_a_comparison_has_every_seed() -> None:
    console = make_console(terminal=False)
    comparison = compute_comparison({"base": [1.0, 2.0, 3.0, 4.0], "x": [9.0] * 4}, [0, 1, 2, 3])
    console.print(render_comparison(comparison))
    text = text_of(console)
    assert "IQM" in text
    assert "1 2 3 4" in text
    assert "P(beats base)" in text


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ({"base": [1.0, 2.0], "x": [8.0, 9.0]}, "x wins: 7 above base"),
        ({"base": [1.0, 9.0], "x": [2.0, 10.0]}, "the difference may be chance"),
        ({"base": [8.0, 9.0], "x": [1.0, 2.0]}, "No config did better than base."),
        ({"base": [1.0], "x": [2.0]}, "says nothing about other seeds"),
        ({"base": [1.0, 2.0]}, "base: 1.5 [1, 2]."),
        ({"base": [1.0, 2.0], "x": [8.0, math.nan]}, "better than base. x diverged on 1 of 2 test"),
        ({"base": [1.0, math.nan], "x": [8.0, 9.0]}, "x: 8.5 [8, 9]. base diverged on 1 of 2 test"),
        ({"base": [math.nan], "x": [math.nan]}, "base diverged on 1 of 1 test seeds. x diverged"),
    ],
)
def test_the_verdict_is_honest(scores: dict[str, list[float]], sentence: str) -> None:
    n_seeds = len(scores["base"])
    assert sentence in describe_winner(compute_comparison(scores, range(n_seeds)))


def test_a_number_that_is_unknown_is_a_dash() -> None:
    from rllama_sb3.cli.console import format_number

    assert format_number(math.nan) == "–"


def test_a_dumb_terminal_gets_lines() -> None:
    from rllama_sb3.cli.console import is_live

    assert not is_live(SimpleNamespace(is_terminal=True, is_dumb_terminal=True))  # type: ignore[arg-type]
