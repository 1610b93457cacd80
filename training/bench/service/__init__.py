"""The service under load, as ratios within one run: over a bare route, over its engine, routed over the full
scale, and at ten times what it can do.

Server and clients each have a core of their own (`cores`), in every run alike. What is asked is drawn before
any clock runs (`asks`). Nothing here is measured through a library for clients: `wire` writes the requests.
"""
