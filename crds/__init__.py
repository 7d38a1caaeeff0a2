"""The vocabulary: every kind as a typed model, and the pure rules about objects that every other root shares."""
