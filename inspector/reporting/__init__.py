"""`inspector report`: a scan on one page, from its table and what people said about it.

Importing the package loads nothing: the processes that make pictures (`shots`) import it, too.
"""
