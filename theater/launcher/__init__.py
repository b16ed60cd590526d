"""The launcher: the only process of a server that runs programs, each within what a manifest grants."""
