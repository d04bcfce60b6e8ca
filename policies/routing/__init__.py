"""Routers: which instance of a cluster takes a request."""
