"""Reading and writing files: formats of other libraries, checkpoints, and safe replacement."""

from minigrad.io.atomic import atomic_write
from minigrad.io.checkpoint import load_checkpoint, save_checkpoint

__all__ = ["atomic_write", "load_checkpoint", "save_checkpoint"]
