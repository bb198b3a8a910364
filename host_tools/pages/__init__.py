"""The province's pages for a browser: `desalink serve`.

`site` is what all requests share, `visits` is one request, `forms` is what a browser sends,
`access` decides who may do what, `views` has a file for each group of pages. `records` is the only
SQL here, on pages.db.
"""
