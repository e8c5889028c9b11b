"""The sections of the page: a file each, with its numbers, tables, figures and words; `order.py` lists them."""
