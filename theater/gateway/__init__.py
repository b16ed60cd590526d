"""The gateway: the only process of a server that has the network, in and out, each within what a manifest grants."""
