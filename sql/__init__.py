"""The lake as a database: table contract, DuckDB catalog, macros, analyses, data checks."""
