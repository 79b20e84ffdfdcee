"""What the processes that work on a study agree about, through its database.

- :mod:`.opening`: what a study is for, and who may go on with it; :mod:`.stop`: its end for all.
- :mod:`.attributes`: what is recorded of trials; :mod:`.owner`: who runs one, and whether still.
- :mod:`.progress`: how many trials count; :mod:`.retries`: what becomes of those that were cut off.
- :mod:`.ranking`: which are best.
"""
