"""The shell of a service: a process that does for actors what their own may not, and trusts none of them."""
