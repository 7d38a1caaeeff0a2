"""Admission: the last look at an object before it is stored. Mutating plugins first, then validating ones."""
