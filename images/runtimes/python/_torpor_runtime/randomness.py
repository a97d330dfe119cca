"""What a process knows of randomness is in its memory, and so in every process that comes from its snapshot: the kernel's is other in
each, this makes the process's own so, too."""

import os
import sys


def reseed():
    """Of those that are loaded: what is loaded later asks the kernel."""
    ssl = sys.modules.get("ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(64), 64.0)
    random = sys.modules.get("random")
    if random is not None:
        random.seed()
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        # It makes another, which has a seed of its own.
        tempfile._name_sequence = None
