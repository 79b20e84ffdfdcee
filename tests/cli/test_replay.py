"""``rllama-sb3 replay``: a trial comes to the same number again."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from command_line import run
from tiny import tiny_yaml

OUT = Path("runs/tune/experiment")
TIME = {
    "class": "StepPenalty",
    "params": {"penalty": -0.5},
    "weight_schedule": {"initial_weight": 0.0},
}
TYPE = "reward_shaping.upright.weight_schedule.schedule_type"
DECAY = {"when": {TYPE: "exponential"}}
SPACE = {
    "reward_shaping": {
        "upright": {
            "weight_schedule": {
                "schedule_type": {"suggest": "categorical", "choices": ["constant", "exponential"]},
                "decay_rate": {"suggest": "float", "low": 0.9, "high": 0.99, **DECAY},
                "decay_steps": {"suggest": "int", "low": 1, "high": 9, **DECAY},
            }
        }
    },
    "algorithm": {
        "params": {"learning_rate": {"suggest": "float", "low": 1e-4, "high": 1e-2, "log": True}}
    },
}
SCHEDULE = {"schedule_type": "exponential", "decay_rate": 0.95, "decay_steps": 4}
TUNING = {
    "seeds_per_trial": 2,
    "sampler": "random",
    "pruner": "none",
    "search_space": SPACE,
    "objectives": {"cost": {"component": "time", "direction": "maximize"}},
    "enqueue": [
        {"reward_shaping": {"upright": {"weight_schedule": SCHEDULE}}},
        {"algorithm": {"params": {"learning_rate": 1e30}}},
    ],
}
CONDITIONAL, DIVERGED = 2, 3


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two workers have searched."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "experiment.yaml").write_text(tiny_yaml(reward_shaping={"time": TIME}, tuning=TUNING))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ("--n-trials", "5", "--workers", "2", "--no-compare")
        with pytest.warns(UserWarning, match=r"enqueue\[1\].*lies outside the range"):
            result = run("tune", "experiment.yaml", *arguments)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(autouse=True)
def _there(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(searched)


def trials() -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name="experiment", storage=f"sqlite:///{OUT}/study.db")
    return study.trials


@pytest.mark.parametrize("number", [0, 1, CONDITIONAL, 4])
def test_each_trial_of_two_workers_comes_out_the_same_to_the_last_bit(number: int) -> None:
    trial = trials()[number]
    assert (
        trial.user_attrs.get("origin")
        == (["base config", "shaping off", "tuning.enqueue[0]", None, None][number])
    )
    result = run("replay", OUT, "--trial", number)
    assert result.exit_code == 0, result.output
    env_return, cost = trial.values
    said = f"The value {env_return!r}, {cost!r} and all 4 evaluations came out the same"
    assert said in result.stdout


def test_a_trial_that_diverged_diverges_again() -> None:
    assert trials()[DIVERGED].user_attrs["diverged"] is True
    result = run("replay", OUT, "--trial", DIVERGED)
    assert result.exit_code == 0, result.output
    assert "It diverged again, and the only evaluation came out the same" in result.stdout


def forge(storage: optuna.storages.RDBStorage, what: str) -> None:
    """Makes a study whose one trial has a number that its training does not come to."""
    study = optuna.load_study(study_name="experiment", storage=storage)
    original = study.trials[CONDITIONAL]
    attrs, values = dict(original.user_attrs), list(original.values)
    if what == "evaluations":
        curves = attrs["evaluations"]
        attrs[what] = [[[step, mean + 1e-12] for step, mean in curve] for curve in curves]
    else:
        values[1] += 1e-12
    copy = optuna.create_study(
        study_name="forged", storage=storage, directions=["maximize", "maximize"]
    )
    for name, value in study.user_attrs.items():
        copy.set_user_attr(name, value)
    copy.add_trial(optuna.create_trial(values=values, user_attrs=attrs))


@pytest.mark.parametrize(
    ("what", "message"), [("evaluations", "but it was"), ("measured", "was worth")]
)
def test_a_number_that_does_not_come_out_again_is_told(what: str, message: str) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{OUT}/study.db")
    forge(storage, what)
    try:
        result = run("replay", OUT, "--trial", "0", "--study-name", "forged")
        assert result.exit_code == 1
        assert "did not come out the same" in result.stdout
        assert message in result.stdout
        unsaid = run("replay", OUT, "--trial", "0")
        assert unsaid.exit_code == 2
        assert "--study-name: must be one of experiment, forged, but got None" in unsaid.stderr
    finally:
        optuna.delete_study(study_name="forged", storage=storage)


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
        # Of two workers one may have begun a trial too many, which it then gave up.
        ((OUT, "--trial", "9"), "--trial: must be the number of one of "),
        ((OUT, "--trial", "0", "--study-name", "x"), "--study-name: must be one of experiment"),
        (("sqlite:///no.db", "--trial", "0"), "storage: must be a file that is there, but got"),
    ],
)
def test_what_is_not_there_is_refused(arguments: tuple[str, ...], message: str) -> None:
    result = run("replay", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("no.db").exists()
