"""Fit a curve with a fully connected network, and watch the fit develop."""
