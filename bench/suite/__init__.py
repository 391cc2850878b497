"""`inspector bench`: which backend, precision, batch size and worker count suit this machine."""
