"""The operator's configuration: unbound.conf read into a typed model, with everything that is wrong told at once.

Owns the options table (`options`), the meaning of values (`values`), the model (`model`), reading (`parse`), checks
of the whole (`check`), messages (`diagnostics`), what is honoured (`report`) and what stops a start (`start`). The
scanner itself is Rust's and is handed in as a callback: this room must never import the engine, and never write to an
operator's file.
"""
