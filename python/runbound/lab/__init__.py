"""The lab: a small world of DNS data that needs no Internet.

Owns a few made-up zones (`world.toml`) and a server that answers for them the way a recursive resolver would, so a
forwarder can be tried and tested on a machine without a network. It must never be used as a real name server, never
send a packet that is not the answer to one, and never import the rest of runbound.

`python -m runbound.lab --address 127.0.0.1 --port 5300` runs it alone.
"""

from runbound.lab.server import Lab, serve
from runbound.lab.world import World, load

__all__ = ["Lab", "World", "load", "serve"]
