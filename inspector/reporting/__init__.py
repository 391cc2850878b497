"""`inspector report`: a scan on one page, from its table and what people said about it.

report    options, and all of it in order: start with `report.report`
counting  SQL over the table
contents  the `Report`: what was counted, and whether the table is whole
page      the page, with wording, sites (places to scale) and shots (pictures)
console   the terminal

Importing the package loads nothing: the processes that make pictures (`shots`) import it, too.
"""
