"""Figures of a model on labelled images, with intervals, and a page that shows them."""
