"""The review: people look at what a scan found, and what they say is kept beside its table.

server  listens on this machine, holds the labels' lock
guard   lets only the page with the token through
app     addresses and answers; session  what they are about
index   a few bytes per row, and the order; queue, rows  what is shown of it
helper  processes of their own that open photos (pictures) and run the model (heat)

Importing the package loads nothing: those processes import it, too. Start with `server.review`.
"""
