"""The lab: an Internet in a box, on loopback addresses or in a network namespace.

Owns a made-up world (`world.toml`): a signed root, zones of every kind, name servers good and bad, and two resolvers
that know it all, so that a resolver can be tried and tested on a machine without a network. It must never be used as a
real name server, never send a packet that is not the answer to one, and never import the rest of runbound.

`schema` reads the file, `world` puts it together; `zone`, `denial` and `keys` know one zone; `authority` and `resolver`
answer, `server` has the sockets; `guide` tells people about it, `namespace` makes the network, `program` runs it all.
`runbound lab` starts it; `python -m runbound.lab --address 127.0.0.1 --port 5300` does so without a word.
"""

from runbound.lab.schema import WorldError
from runbound.lab.server import Lab, serve
from runbound.lab.world import World, load

__all__ = ["Lab", "World", "WorldError", "load", "serve"]
