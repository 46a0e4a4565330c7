"""Checks of pages, a file for each page; `tools/pages.py` runs them."""
