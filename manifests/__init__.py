"""Shipped objects: bootstrap, examples, systemd units, dashboards and alert rules. Data only."""
