"""The results of a run for people: a page, Markdown for a pull request, lines for a terminal."""
