"""The record: accepts, checks, stores and announces objects."""
