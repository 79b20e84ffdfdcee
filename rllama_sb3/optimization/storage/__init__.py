"""Where a study is kept: in memory, in a file, in a database server, or behind a proxy of one.

- :mod:`.opening` opens any of them by its :mod:`.url`, and without a password in what it says.
- :mod:`.database` and :mod:`.proxy` are Optuna's, with what many machines need beside it.
- :mod:`.patience`: asking a server again that is away, as :mod:`.patient_database` does.
"""

from rllama_sb3.optimization.storage.opening import open_database, open_storage

__all__ = ["open_database", "open_storage"]
