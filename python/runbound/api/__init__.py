"""The REST API of the control plane.

`settings` is light and read at start (addresses, key); everything else imports FastAPI and is loaded by the API's own
thread after the first answer. The room never applies a change itself: it hands changes to `ops.change`.
"""
