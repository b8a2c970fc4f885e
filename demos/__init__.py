"""Demonstrations of minigrad, each with its own command line; `python -m demos` lists them."""
