"""Charts of the page: plain functions from the result of an analysis to an Altair chart."""
