"""What another search has found is tried first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from rllama_sb3.config import dump_yaml, merge_configs
from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.warm_start import _split_source

Space = dict[str, Any]

BASE: Space = {"agent": {"kind": "greedy", "rate": 0.5, "gamma": 0.99}, "episodes": 10}


def floats(low: float = 0.0, high: float = 1.0, **keys: Any) -> Space:
    return {"suggest": "float", "low": low, "high": high, **keys}


KIND: Space = {"suggest": "categorical", "choices": ["greedy", "soft"]}
HEAT = floats(0.0, 9.0, when={"agent.kind": "soft"})
SPACE: Space = {"agent": {"rate": floats(), "kind": KIND, "heat": HEAT}}


def build(space: Space = SPACE, base: Space = BASE, **arguments: Any) -> BayesianRewardOptimizer:
    """Prefers a rate near 0.7, and heat."""

    def objective(trial: optuna.Trial) -> float:
        agent = optimizer.generate_trial_config(trial)["agent"]
        return float(agent.get("heat", 0.0) - abs(agent["rate"] - 0.7))

    optimizer = BayesianRewardOptimizer(base, space, objective, **({"n_trials": 1} | arguments))
    return optimizer


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search with eight trials, whose study is called ``earlier``."""
    out = tmp_path_factory.mktemp("earlier")
    build(n_trials=8, out=out, storage=f"sqlite:///{out}/study.db", study_name="earlier").optimize()
    return out


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/study.db#earlier"


def best_of(folder: Path, n: int) -> list[Space]:
    study = optuna.load_study(study_name="earlier", storage=f"sqlite:///{folder}/study.db")
    trials = sorted(study.trials, key=lambda trial: -(trial.value or 0.0))
    return [trial.params for trial in trials[:n]]


def params_of(study: optuna.Study) -> list[Space]:
    return [trial.params for trial in study.trials if trial.state.is_finished()]


def test_the_best_trials_of_a_study_follow_the_config_the_best_first(earlier: Path) -> None:
    study = build(warm_start=url_of(earlier), n_trials=7).optimize()[2]
    best = best_of(earlier, 5)
    taken = [t for t in study.trials if "warm start" in t.user_attrs.get("origin", "")]
    assert [trial.params for trial in taken] == [p for p in best if p != study.trials[0].params]
    assert taken[0].number == 1
    assert taken[0].user_attrs["origin"].startswith("warm start from trial ")
    assert taken[0].user_attrs["origin"].endswith(" of earlier")


def test_a_trial_that_diverged_is_not_taken_over(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"

    def diverge(trial: optuna.Trial) -> None:
        if trial.number == 1:
            trial.set_user_attr("diverged", True)

    source = build(n_trials=3, storage=storage, on_trial_start=diverge).optimize()[2]
    taken = params_of(build(warm_start=storage, n_trials=2).optimize()[2])
    assert taken == [source.trials[0].params, source.trials[2].params]


def test_a_folder_of_results_and_its_best_config_are_sources_too(earlier: Path) -> None:
    best = best_of(earlier, 1)
    for source in (earlier, earlier / "best.yaml"):
        study = build(warm_start=source, n_trials=2).optimize()[2]
        assert params_of(study)[1:] == best


def test_configs_are_taken_over_not_parameters(tmp_path: Path) -> None:
    # What was searched under another name, by its distance from 1, or not at all, is a value.
    searched = {"agent": {"rate": floats(name="r"), "gamma": floats(transform="one_minus")}}
    base = merge_configs(BASE, {"episodes": 30})
    storage = f"sqlite:///{tmp_path}/study.db"
    source = build(searched, base, storage=storage, n_trials=1).optimize()[2].trials[0]
    space = {
        "agent": {"rate": floats(0.0, 2.0), "gamma": floats(0.5, 1.0)},
        "episodes": {"suggest": "int", "low": 5, "high": 50},
    }
    optimizer = build(
        space, merge_configs(BASE, {"agent": {"rate": 0.1}}), warm_start=storage, n_trials=2
    )
    second = optimizer.optimize()[2].trials[1]
    assert source.params == {"r": 0.5, "agent.gamma": 0.01}
    assert second.params == {"agent.rate": 0.5, "agent.gamma": 0.99, "episodes": 30}


def test_what_cannot_be_taken_over_is_told_and_the_configs_own_is_tried(tmp_path: Path) -> None:
    base = {"agent": {"kind": "soft", "rate": 0.25, "heat": 3.0, "depth": 2}, "episodes": 10}
    (tmp_path / "old.yaml").write_text(dump_yaml(base))
    space = {"agent": {"rate": floats(), "kind": {**KIND, "choices": ["greedy", "cold"]}}}
    with pytest.warns(UserWarning, match=r"taken from old\.yaml differs from it") as caught:
        optimizer = build(space, warm_start=tmp_path / "old.yaml", n_trials=2)
    told = str(caught[0].message)
    assert "agent.kind is 'greedy', not 'soft'" in told
    assert "agent.heat is left out, not 3.0" in told
    assert "agent.depth is left out, not 2" in told
    assert params_of(optimizer.optimize()[2])[1] == {"agent.kind": "greedy", "agent.rate": 0.25}


def test_a_choice_of_the_other_search_brings_its_own_values(tmp_path: Path) -> None:
    base = {"agent": {"kind": "soft", "rate": 0.25, "heat": 3.0, "gamma": 0.99}, "episodes": 10}
    (tmp_path / "old.yaml").write_text(dump_yaml(base))
    study = build(warm_start=tmp_path / "old.yaml", n_trials=2).optimize()[2]
    assert params_of(study)[1] == {"agent.kind": "soft", "agent.rate": 0.25, "agent.heat": 3.0}


def test_the_parameters_of_equal_callables_are_taken_over(tmp_path: Path) -> None:
    def space() -> Space:
        def total(trial: optuna.trial.BaseTrial) -> float:
            return trial.suggest_float("a", 0, 1) + trial.suggest_float("b", 0, 1)

        return {"agent": {"rate": total}}

    storage = f"sqlite:///{tmp_path}/study.db"
    with pytest.warns(UserWarning, match="no parameter was found"):
        source = build(space(), storage=storage, n_trials=1).optimize()[2]
    optimizer = build(space(), warm_start=storage, n_trials=1)
    with pytest.warns(UserWarning, match="no parameter was found"):
        assert params_of(optimizer.optimize()[2]) == params_of(source)


def test_a_study_that_goes_on_takes_over_each_trial_once(earlier: Path, tmp_path: Path) -> None:
    def run(n_trials: int) -> list[Space]:
        storage = f"sqlite:///{tmp_path}/new.db"
        optimizer = build(warm_start=url_of(earlier), storage=storage, n_trials=n_trials)
        return params_of(optimizer.optimize()[2])

    first = run(3)
    again = run(7)
    assert again[:3] == first
    assert len({str(sorted(params.items())) for params in again}) == 7


def test_least_is_best_in_a_study_that_minimizes(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    study = build(storage=storage, direction="minimize", n_trials=6).optimize()[2]
    warm = build(warm_start=storage, direction="minimize", n_trials=2).optimize()[2]
    values = [trial.value for trial in warm.trials]
    assert values[1] == study.best_value or values[0] == study.best_value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", r"warm_start: must be a search to start from, but got 'nowhere'\. Name a best"),
        ("nothing.yaml", r"nothing\.yaml: must be an existing file"),
        ("sqlite:///{folder}/study.db#earlyer", r"got 'earlyer'\. Did you mean 'earlier'\?"),
        ("mongodb://me:secret@host/db#x", "must be a URL of sqlite"),
        ("sqlite:///{folder}/no.db", "storage: must be a file that is there"),
        ("{folder}/other.yaml", "must have a config that was tried, with a value that is searched"),
    ],
)
def test_a_source_that_is_none_is_told(
    earlier: Path, tmp_path: Path, source: str, message: str
) -> None:
    (tmp_path / "other.yaml").write_text("quite: {another: 1}")
    folder = earlier if "earl" in source else tmp_path
    with pytest.raises(ConfigError, match=message) as caught:
        build(warm_start=source.format(folder=folder))
    assert "secret" not in str(caught.value)


def test_a_study_is_not_started_from_itself_nor_from_that_of_another_program(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(earlier)
    with pytest.raises(ConfigError, match="must be another study than the one to start"):
        build(warm_start=url_of(earlier), storage="sqlite:///study.db", study_name="earlier")
    storage = f"sqlite:///{tmp_path}/foreign.db"
    foreign = optuna.create_study(storage=storage, direction="maximize")
    foreign.optimize(lambda trial: trial.suggest_float("agent.rate", 0, 1), n_trials=1)
    with pytest.raises(ConfigError, match="must be a study of this package"):
        build(warm_start=storage)


# The source


@pytest.mark.parametrize(
    ("source", "url", "name"),
    [
        ("sqlite:///runs.db#me@home", "sqlite:///runs.db", "me@home"),
        ("postgresql://me:se#cret@host/db#mine", "postgresql://me:se#cret@host/db", "mine"),
        ("postgresql://host/db#mine@home#2", "postgresql://host/db", "mine@home#2"),
        ("grpc://host:13000#mine", "grpc://host:13000", "mine"),
        ("grpc://host:13000", "grpc://host:13000", ""),
    ],
)
def test_the_study_is_named_after_the_storage(source: str, url: str, name: str) -> None:
    assert _split_source(source) == (url, name)


@pytest.mark.parametrize(
    "source",
    [
        "me:secret@host/db#mine",
        "postgresql://me:half@secret@host/db#mine",
        "mysql+nodriver://me:secret@host/db#mine",
        "postgresql://me:secret@/db?host=/nowhere&password=secret#mine",
    ],
)
def test_a_source_that_cannot_be_used_is_told_without_its_password(source: str) -> None:
    with pytest.raises(ConfigError, match="^(storage|warm_start): must") as caught:
        build(warm_start=source)
    assert "secret" not in str(caught.value)
