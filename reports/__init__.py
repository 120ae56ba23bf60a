"""One self-contained HTML page from the stored results of a study's analyses."""
