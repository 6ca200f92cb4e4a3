"""runbound: a DNS resolver with a Rust data plane and a Python control plane.

This module owns the version number and nothing else. It must never import another room: `import runbound` stands on the
way to the first DNS answer, and every import here would be paid by it.
"""

__version__ = "0.5.0"
