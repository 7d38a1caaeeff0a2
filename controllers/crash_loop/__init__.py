"""Crash-loop protection: a release that keeps failing is taken back, or left alone for a while.

`counting` reads failures off pods, `planning` decides; both are pure. `controller` gathers and writes.
"""
