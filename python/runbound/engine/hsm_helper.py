"""The process that speaks with a token: `python -I -m runbound.engine.hsm_helper`, its fd 0 a socket to the resolver.

Owns the one call. Everything else is Rust's, so that neither a PIN nor a key is ever a Python object; what a vendor's
library does in this process, it does to this process alone.
"""

from runbound.engine import hsm_serve

if __name__ == "__main__":
    hsm_serve()
