"""Measurements. Run with `make bench`; results are kept in bench/RESULTS.md with date and commit."""
