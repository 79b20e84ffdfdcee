"""What is searched: the ranges and choices that a config gives for its own values.

- :mod:`.space` is what everybody else asks. :mod:`.parser` reads it from a config into
  :mod:`.leaves`, each declared as :mod:`.leaf_config` says, with :mod:`.conditions` and
  :mod:`.dependencies` among them, and :mod:`.defaults` where the config is silent.
- :mod:`.stock_spaces` are those of SB3's algorithms; :mod:`.stock_expansion` puts them in.
- :mod:`.constraints` say which proposals make no sense.
- :mod:`.judge` says what a config is like with certain values; :mod:`.reach` asks it of the ends
  of every range; :mod:`.known_configs` and :mod:`.known_trial` go from a config to its values.
- :mod:`.finite` lists all points of a space that has so few.
"""

from rllama_sb3.optimization.search_space.space import (
    SearchSpace,
    build_search_space,
    check_search_space,
)

__all__ = ["SearchSpace", "build_search_space", "check_search_space"]
