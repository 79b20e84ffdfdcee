"""The processes that run trials.

- :mod:`.crew` starts them, and sees to those that end before their time.
- :mod:`.process` is one of them, as it is seen from there; :mod:`.task` is what it is told.
- :mod:`rllama_sb3.optimization.worker` is what it runs.
"""
