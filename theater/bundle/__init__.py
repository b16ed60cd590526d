"""Bundles: chains, and everything that they refer to, in one file that another machine can verify and replay.

`index` says what a bundle is; `container` is the file; `export` writes one, `opened` unpacks and verifies one, and
`take_in` puts what is in it into a home.
"""
