"""The proof of the proof: mistakes planted one at a time, all of which the tests must find.

`python -m tests.mutants` plants them; `plant.py` says how, `suite.py` runs the tests, and the mistakes themselves are
in `engine.py`, `rules.py`, `kernels.py`, `composites.py` and `training.py`.
"""
