"""`python -m theater_cli` is `theater`."""

from .main import main

main()
