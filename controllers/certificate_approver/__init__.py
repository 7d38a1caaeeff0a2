"""Lets agents in and keeps them in: approves what needs no person."""
