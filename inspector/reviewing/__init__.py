"""`inspector review`: people look at what a scan found, and label it.

Importing the package loads nothing: the processes that run the model (`heat`) import it, too.
"""
