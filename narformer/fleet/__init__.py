"""Measuring and predicting on many machines that are a cluster of Ray."""
