"""A night's scan on one page: what is in a table, and what people said about it.

run       all of it, in order; start with `run.summarise`
table     the rows as a stream, each with the human verdict and what stands after it
tally     what is counted on the way, in bounded memory, with counts, coarse, best, copies
state     whether the table is whole
contents  what was counted, for people and programs
page      what is shown of it, with wording, sites, shots; console  what the terminal shows
geojson   the places, for a map

Importing the package loads nothing: the processes that make pictures (`shots`) import it, too.
"""
