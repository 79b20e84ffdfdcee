"""``rllama-sb3 tune``: one search, interrupted, resumed, compared and reported again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from command_line import interrupt_at, run, start
from tiny import tiny_experiment, tiny_yaml

from rllama_sb3.analysis.candidates import BASE_NAME, UNSHAPED_NAME, choose_candidates
from rllama_sb3.config import parse_experiment
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.study.attributes import DIVERGED

OUT = Path("runs/tune/experiment")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "experiment.yaml"
    path.write_text(tiny_yaml())
    return path


def read_trials(out: Path = OUT) -> list[dict[str, str]]:
    with (out / "trials.csv").open(newline="") as text:
        return list(csv.DictReader(text))


def test_a_search_is_interrupted_resumed_and_reported_again(file: Path, tmp_path: Path) -> None:
    process = start("tune", "experiment.yaml", "--n-trials", "500", cwd=tmp_path)
    output = interrupt_at(process, "trial 0 (")
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert f"Interrupted. What was finished is kept in {OUT}" in output
    assert "rllama-sb3 tune experiment.yaml --n-trials 500" in output
    n_before = len([row for row in read_trials() if row["state"] == "complete"])
    assert n_before >= 1
    assert (OUT / "best.yaml").exists()
    assert (OUT / "best_model.zip").exists()

    # The total is the study's: two more than there are.
    options = ("--n-trials", str(n_before + 2), "--n-jobs", "1")
    resumed = run("tune", "experiment.yaml", *options)
    assert resumed.exit_code == 0, resumed.output
    assert "\x1b" not in resumed.output
    assert len([row for row in read_trials() if row["state"] == "complete"]) == n_before + 2
    for name in (BASE_NAME, UNSHAPED_NAME, "trial "):
        assert name in resumed.stdout.partition("Env return on 2 test seeds")[2]
    assert f"tensorboard --logdir {OUT}" in resumed.stdout
    assert f"sqlite:///{OUT / 'study.db'}" in resumed.stdout
    assert len(list((OUT / "trials").glob("*/tensorboard/events*"))) >= n_before + 2

    again = run("tune", "experiment.yaml", *options)
    assert again.exit_code == 0, again.output
    assert "test run" not in again.stdout  # everything was known
    table = "Env return on"
    assert again.stdout.partition(table)[2] == resumed.stdout.partition(table)[2]
    assert (OUT / "comparison.csv").exists()
    assert (OUT / "comparison.html").exists()

    judged = run("evaluate", OUT, "--episodes", "2")
    assert judged.exit_code == 0, judged.output
    trained = run("train", OUT / "best.yaml", "--out", "again", "-q")
    assert trained.exit_code == 0, trained.output


def test_where_and_what_is_searched_can_be_chosen(file: Path) -> None:
    result = run(
        *("tune", "experiment.yaml", "--n-trials", "1", "--no-compare", "--quiet", "--seed", "5"),
        *("--study-name", "mine", "--out", "here", "--storage", "sqlite:///there/all.db"),
    )
    assert result.exit_code == 0, result.output
    assert len(result.stdout.split("Where everything is")[0].splitlines()) == 1
    assert len(read_trials(Path("here"))) == 1
    assert "seed: 5" in Path("here/best.yaml").read_text()
    assert optuna.get_all_study_names("sqlite:///there/all.db") == ["mine"]
    assert not Path("runs").exists()


def test_a_study_is_not_continued_with_another_config(file: Path) -> None:
    search = ("tune", "experiment.yaml", "--n-trials", "1", "--no-compare")
    assert run(*search).exit_code == 0
    before = (OUT / "trials.csv").read_bytes()
    file.write_text(tiny_yaml(training={"total_timesteps": 192}))
    result = run(*search)
    assert result.exit_code == 2
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if "192" in text)
    assert f"experiment.yaml:{line}: training.total_timesteps: must be 128" in result.stderr
    assert (OUT / "trials.csv").read_bytes() == before


def test_a_search_begins_with_what_another_one_has_found(file: Path) -> None:
    Path("best.yaml").write_text(tiny_yaml(algorithm={"params": {"learning_rate": 2e-4}}))
    search = ("tune", "experiment.yaml", "--no-compare", "--quiet", "--n-trials", "3")
    result = run(*search, "--warm-start", "best.yaml")
    assert result.exit_code == 0, result.output
    third = read_trials()[2]
    assert third["algorithm.params.learning_rate"] == "0.0002"
    assert third["origin"] == "warm start from best.yaml"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--warm-start", "no.yaml"], "no.yaml: must be an existing file"),
        (["--warm-start", "nowhere"], "warm_start: must be a search to start from"),
        (
            ["--set", "tuning.enqueue=[{training: {seed: 1}}]"],
            "--set: tuning.enqueue[0].training.seed: must be searched",
        ),
        (["--n-trials", "0"], "--set: tuning.n_trials: must be at least 1, but got 0"),
        (["--storage", "mongodb://x/y"], "storage: must be a URL of sqlite, postgresql, mysql or"),
        (["--out", "experiment.yaml/x"], "out: must be a folder that can be made"),
        (
            ["--set", "tuning.search_space={}"],
            "--set: tuning.search_space: must name at least one value to search",
        ),
        (
            ["--set", "tuning.search_space.algorithm.params.learning_rate.low=0"],
            "--set: tuning.search_space.algorithm.params.learning_rate",
        ),
    ],
)
def test_nothing_starts_with_bad_input(file: Path, options: list[str], message: str) -> None:
    result = run("tune", "experiment.yaml", *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not list(Path().glob("**/trials.csv"))


def search_with(
    values: list[float], diverged: Sequence[int] = (), **changes: object
) -> dict[str, object]:
    """The candidates after a search whose trials were worth these values, or diverged."""
    config = parse_experiment(tiny_experiment(**changes))
    optimizer = BayesianRewardOptimizer(config, n_trials=len(values))

    # What a trial is worth is set here, and not trained for.
    def value_of(trial: optuna.Trial) -> float:
        optimizer.generate_trial_config(trial)
        if trial.number in diverged:
            trial.set_user_attr(DIVERGED, True)
        return values[trial.number]

    optimizer._objective = value_of
    optimizer.optimize()
    return dict(choose_candidates(config, optimizer))


def test_the_best_trials_are_compared_with_the_users_config_and_without_shaping() -> None:
    candidates = search_with([1.0, 3.0, 2.0, 5.0], tuning={"n_top_configs": 2})
    assert list(candidates) == [BASE_NAME, UNSHAPED_NAME, "trial 3", "trial 2"]
    assert candidates[UNSHAPED_NAME].reward_shaping == {}  # type: ignore[attr-defined]


def test_the_users_config_is_not_compared_with_itself() -> None:
    # Trial 0, the user's own values, is the best of the search; trial 1 has no shaping.
    candidates = search_with([9.0, 3.0, 2.0])
    assert list(candidates) == [BASE_NAME, UNSHAPED_NAME, "trial 2"]


def test_what_diverged_is_not_compared() -> None:
    candidates = search_with([9.0, 3.0, 8.0, 2.0], diverged=[0, 2])
    assert list(candidates) == [UNSHAPED_NAME, "trial 3"]


def test_there_is_no_shaping_to_leave_out_where_there_is_none() -> None:
    changed = tiny_experiment() | {"reward_shaping": {}}
    config = parse_experiment(changed)
    optimizer = BayesianRewardOptimizer(config, n_trials=1)
    optimizer._objective = lambda trial: bool(optimizer.generate_trial_config(trial))
    optimizer.optimize()
    assert list(choose_candidates(config, optimizer)) == [BASE_NAME]
