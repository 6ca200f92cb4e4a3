"""State: what runbound remembers between two runs.

`directory` owns the folder itself: who may read it, and that one process alone uses it. This room must never import
the engine, the API or the command line.
"""
