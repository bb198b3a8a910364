"""Closed months of evidence as Parquet files, chained by their digests.

A file holds reports as they arrived: the signed bytes, when they arrived, and a few columns by
which other programs can find them. It is never changed. `chain` lists the files; `file` writes and
reads one. What is in the database and what is here is for the store to say.
"""
