"""State: what runbound remembers between two runs.

`directory` owns the folder itself: who may read it, and that one process alone uses it. `store` is what changes by API,
in a database that proves itself: `opening` proves it, `writer` writes it, `table` has the entries, `journal` the
revisions, `trail` the audit log's lines, `head` where all of them end. This room must never import the engine, the API
or the command line: keys and codecs are handed to it.
"""
