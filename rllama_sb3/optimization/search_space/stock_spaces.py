"""Stock search spaces: what ``algorithm: {search_space: default}`` searches, and why just that.

The sources, by the words that stand beside each parameter:

- *rl_zoo3*: ``rl_zoo3/hyperparams_opt.py`` of the RL Baselines3 Zoo (Raffin 2020), as of the
  commit 0a9df50.
- *Eimer*: the ranges of Eimer et al. 2023, "Hyperparameters in Reinforcement Learning and How To
  Tune Them", from ``sb3_experiments/configs/search_space`` of their code.
- *SB3*: defaults in the constructors of Stable-Baselines3.
- *ours*: a choice of this package, for the reason that is given.

Sizes of networks are not searched: which make sense depends on the policy. Nor is what a file
cannot say, such as TD3's action noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class StockLeaf:
    """One parameter of a stock space.

    Attributes:
        leaf: The declared leaf, as a user would write it.
        source: Where its values come from.
    """

    leaf: Mapping[str, Any]
    source: str


def _float(source: str, low: float, high: float, **keys: Any) -> StockLeaf:
    return StockLeaf({"suggest": "float", "low": low, "high": high, **keys}, source)


def _choice(source: str, *choices: float) -> StockLeaf:
    return StockLeaf({"suggest": "categorical", "choices": list(choices)}, source)


# On-policy: steps are cheap, updates few.
_RATE = _float("rl_zoo3", 1e-5, 2e-3, log=True)
_GAMMA = _float("rl_zoo3", 1e-4, 0.03, log=True, transform="one_minus")
_ENTROPY = _choice(
    "ours: rl_zoo3's range, 1e-8 to 0.1, in powers of ten from 1e-4, and 0, the default of SB3, "
    "which a logarithm cannot reach",
    *(0.0, 1e-4, 1e-3, 1e-2, 1e-1),
)
_GRAD_NORM = _float("rl_zoo3", 0.3, 2.0)

# Off-policy: transitions are kept and learned from many times.
_OFF_POLICY_RATE = _float(
    "what rl_zoo3 (1e-5 to 1) and Eimer (1e-6 to 0.01) share", 1e-5, 1e-2, log=True
)
_OFF_POLICY_GAMMA = _float(
    "the range of rl_zoo3's choices, 0.9 to 0.9999", 1e-4, 0.1, log=True, transform="one_minus"
)
_STARTS = _choice(
    "ours: 100 of SB3, and rl_zoo3's choices up to 10,000, the end of Eimer's range",
    *(100, 1_000, 5_000, 10_000),
)
_BUFFER = _choice("rl_zoo3", 10_000, 100_000, 1_000_000)
_GRADIENT_STEPS = _choice("1 of SB3; -1, as many as steps were taken, is rl_zoo3's choice", 1, -1)
_TRAIN_FREQ = _choice(
    "rl_zoo3, up to 64: with gradient_steps 1 a longer one hardly learns", 1, 4, 8, 16, 32, 64
)
_TAU = _float("the range of rl_zoo3's choices", 0.001, 0.08, log=True)

STOCK_SPACES: Final[Mapping[str, Mapping[str, StockLeaf]]] = {
    "PPO": {
        "learning_rate": _RATE,
        "n_steps": _choice("rl_zoo3", 32, 64, 128, 256, 512, 1024, 2048),
        "batch_size": _choice("rl_zoo3", 32, 64, 128, 256, 512),
        "n_epochs": _choice("rl_zoo3", 1, 5, 10, 20),
        "gamma": _GAMMA,
        "gae_lambda": _float("rl_zoo3", 1e-4, 0.1, log=True, transform="one_minus"),
        "clip_range": _choice("rl_zoo3", 0.1, 0.2, 0.3, 0.4),
        "ent_coef": _ENTROPY,
        "max_grad_norm": _GRAD_NORM,
    },
    "A2C": {
        "learning_rate": _RATE,
        "n_steps": _choice(
            "ours: from 5 of SB3 up; rl_zoo3's 32 to 2048 leave few updates", 5, 16, 32, 64, 128
        ),
        "gamma": _GAMMA,
        "gae_lambda": _float(
            "ours: rl_zoo3's range on a plain scale, up to 1, the default of SB3", 0.9, 1.0
        ),
        "ent_coef": _ENTROPY,
        "max_grad_norm": _GRAD_NORM,
    },
    "DQN": {
        "learning_rate": _OFF_POLICY_RATE,
        "batch_size": _choice("rl_zoo3, without 100", 16, 32, 64, 128, 256, 512),
        "buffer_size": _choice("rl_zoo3", 10_000, 50_000, 100_000, 1_000_000),
        "learning_starts": _STARTS,
        "gamma": _OFF_POLICY_GAMMA,
        "train_freq": _choice(
            "rl_zoo3, up to 16: with gradient_steps 1 a longer one hardly learns", 1, 4, 8, 16
        ),
        "gradient_steps": _choice(
            "1 of SB3; -1, as many as steps were taken, is the most of rl_zoo3", 1, -1
        ),
        "target_update_interval": _choice("rl_zoo3", 1, 1_000, 5_000, 10_000, 15_000, 20_000),
        "exploration_fraction": _float("Eimer", 0.005, 0.5),
        "exploration_final_eps": _float("Eimer", 0.001, 0.2),
    },
    "SAC": {
        "learning_rate": _OFF_POLICY_RATE,
        "batch_size": _choice("Eimer", 64, 128, 256, 512),
        "buffer_size": _BUFFER,
        "learning_starts": _STARTS,
        "gamma": _OFF_POLICY_GAMMA,
        "tau": _TAU,
        "train_freq": _TRAIN_FREQ,
        "gradient_steps": _GRADIENT_STEPS,
    },
    "TD3": {
        "learning_rate": _OFF_POLICY_RATE,
        "batch_size": _choice("Eimer", 32, 64, 128, 256),
        "buffer_size": _BUFFER,
        "learning_starts": _STARTS,
        "gamma": _OFF_POLICY_GAMMA,
        "tau": _TAU,
        "train_freq": _TRAIN_FREQ,
        "gradient_steps": _GRADIENT_STEPS,
    },
}


def render_stock_spaces() -> str:
    """Returns all stock spaces as a table in Markdown."""
    lines = ["| algorithm | parameter | searched | source |", "|---|---|---|---|"]
    for algorithm, leaves in STOCK_SPACES.items():
        for key, stock in leaves.items():
            lines.append(f"| {algorithm} | `{key}` | {_render(stock.leaf)} | {stock.source} |")
    return "\n".join(lines)


def _render(leaf: Mapping[str, Any]) -> str:
    if "choices" in leaf:
        return ", ".join(f"{choice:,}" for choice in leaf["choices"])
    scale = ", logarithmic" if leaf.get("log") else ""
    what = "1 minus it: " if leaf.get("transform") else ""
    return f"{what}{leaf['low']:g} to {leaf['high']:g}{scale}"
