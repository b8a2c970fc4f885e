"""List the demos: `python -m demos`."""

import importlib
import pkgutil

import demos

for module in pkgutil.iter_modules(demos.__path__):
    if module.ispkg:
        summary = (importlib.import_module(f"demos.{module.name}").__doc__ or "").splitlines()[0]
        print(f"python -m demos.{module.name:<8} {summary}")
print("\nEach explains its options with --help.")
