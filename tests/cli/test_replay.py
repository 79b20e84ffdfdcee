"""``rllama-sb3 replay``: a trial comes to the same number again."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from command_line import run
from tiny import tiny_yaml

OUT = Path("runs/tune/experiment")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two workers have searched."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "experiment.yaml").write_text(
        tiny_yaml(tuning={"seeds_per_trial": 2, "sampler": "random", "pruner": "none"})
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ("--n-trials", "3", "--workers", "2", "--no-compare")
        result = run("tune", "experiment.yaml", *arguments)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(autouse=True)
def _there(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(searched)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_trial_of_two_workers_comes_out_the_same_to_the_last_bit(number: int) -> None:
    result = run("replay", OUT, "--trial", number)
    assert result.exit_code == 0, result.output
    study = optuna.load_study(study_name="experiment", storage=f"sqlite:///{OUT}/study.db")
    value = study.trials[number].value
    assert f"The value {value!r} and all 4 evaluations came out the same" in result.stdout


def test_a_number_that_does_not_come_out_again_is_told() -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{OUT}/study.db")
    study = optuna.load_study(study_name="experiment", storage=storage)
    original = study.trials[2]
    forged = [[[step, mean + 1e-12] for step, mean in curve] for curve in _curves(original)]
    copy = optuna.create_study(study_name="forged", storage=storage, direction="maximize")
    copy.add_trial(
        optuna.create_trial(
            value=original.value,
            params=original.params,
            distributions=original.distributions,
            user_attrs={**original.user_attrs, "evaluations": forged},
        )
    )
    try:
        result = run("replay", OUT, "--trial", "0", "--study-name", "forged")
        assert result.exit_code == 1
        assert "did not come out the same" in result.stdout
        assert "but it was" in result.stdout
        unsaid = run("replay", OUT, "--trial", "0")
        assert unsaid.exit_code == 2
        assert "--study-name: must be one of experiment, forged, but got None" in unsaid.stderr
    finally:
        optuna.delete_study(study_name="forged", storage=storage)


def _curves(trial: optuna.trial.FrozenTrial) -> list[list[tuple[int, float]]]:
    curves: list[list[tuple[int, float]]] = trial.user_attrs["evaluations"]
    return curves


def test_new_seeds_tell_how_good_a_trial_is() -> None:
    result = run("replay", OUT, "--trial", "0", "--new-seeds", "2", "--n-jobs", "1")
    assert result.exit_code == 0, result.output
    assert "2 test seeds, which no search has seen" in result.stdout
    assert "In the search it came to" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("me:secret@host", "--trial", "0"),
            "study.db, or the URL of its storage, but got '<text with @>'",
        ),
        (("nowhere", "--trial", "0"), "STUDY: must be the folder of a search with its study.db"),
        ((OUT, "--trial", "9"), "--trial: must be the number of one of 3 trials, from 0 on"),
        ((OUT, "--trial", "0", "--study-name", "x"), "--study-name: must be one of experiment"),
    ],
)
def test_what_is_not_there_is_refused(arguments: tuple[str, ...], message: str) -> None:
    result = run("replay", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
