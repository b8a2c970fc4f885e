"""Where the plugin was."""

from minigrad_pytest import *  # noqa: F403
