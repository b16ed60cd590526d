"""The same measurements in other libraries: one module for each, which alone imports it.

On the same terms as Theater: two actors, the asking one times its requests; bodies are bytes; a one-way run ends
when the receiver has said that it got all; a start ends with the first answer. None of the peers records anything.
"""
