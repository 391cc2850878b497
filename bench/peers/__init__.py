"""Peers: other programs that judge a folder, what one would use without this one."""
