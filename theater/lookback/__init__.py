"""Looking back: what a chain says of any moment, and how the entries of several chains follow from each other.

Everything here reads the chains of a home and changes nothing, with its server up or down. No guest runs: every state
that a call has committed stands in the record, bit for bit, and replay (theater/replay) proves that it is the one that
the guest made. `home` is where a user of this package begins.
"""
