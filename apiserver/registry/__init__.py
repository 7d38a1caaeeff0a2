"""The rules every object follows, whatever its kind; what a kind adds to them is in `strategies/`."""
